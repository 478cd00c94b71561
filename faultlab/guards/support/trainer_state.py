"""What several guards read of a training in the same way: metrics, batches, and a copy of the module to try out."""

from __future__ import annotations

import contextlib
import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from faultlab.guards.support.twins import copied

ATTACHED = "__faultlab_attached__"
"""Marks a method that stands before a module's own."""

_AVERAGES = frozenset({"ema", "swa", "avg", "average", "averaged", "polyak", "shadow", "teacher", "smoothed"})

_trying = False


def trying() -> bool:
    """Whether a guard is running a copy of the module at this moment: hooks on layers are not to count that."""
    return _trying


def number(value: Any) -> float | None:
    """A scalar as a float, None where it is none."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        return float(value.detach())
    return float(value) if isinstance(value, (int, float)) else None


def metrics(trainer: Any) -> dict[str, float]:
    """The scalars that callbacks can see now."""
    logged = getattr(trainer, "callback_metrics", None) or {}
    found = {str(name): number(value) for name, value in dict(logged).items()}
    return {name: value for name, value in found.items() if value is not None}


def validation_loss(names: Any, wanted: str = "") -> str:
    """The name among some that is the loss of validation, and the wanted one where it is there."""
    if wanted:
        return wanted if wanted in names else ""
    fitting = [name for name in names if "val" in name.lower() and "loss" in name.lower()]
    return min(fitting, key=len, default="")


def tensors(batch: Any, depth: int = 4) -> list[torch.Tensor]:
    """The tensors of a batch, in its order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if depth == 0 or batch is None or isinstance(batch, (str, bytes)):
        return []
    if isinstance(batch, Mapping):
        parts: Any = batch.values()
    elif isinstance(batch, (list, tuple)):
        parts = batch
    else:
        parts = vars(batch).values() if hasattr(batch, "__dict__") and not isinstance(batch, nn.Module) else ()
    return [tensor for part in parts for tensor in tensors(part, depth - 1)]


def samples(batch: Any) -> int | None:
    """The number of samples of a batch, None where its tensors do not agree on it."""
    sizes = {len(tensor) for tensor in tensors(batch) if tensor.dim()}
    return sizes.pop() if len(sizes) == 1 else None


def is_average(name: str) -> bool:
    """Whether a metric is of averaged weights, by its name: such an average may begin late."""
    return not _AVERAGES.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def finite(value: float) -> bool:
    return math.isfinite(value)


def names(found: list[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(found[:3])
    return shown if len(found) <= 3 else f"{shown} and {len(found) - 3} more"


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Random numbers that are drawn inside were not drawn, as far as anybody outside can tell."""
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        numpy.random.set_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)


_seeded: dict[int, torch.Tensor] = {}


def reseed(seed: int) -> None:
    """Seeds torch's generators; within `undrawn`."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    # To work a state out takes as long as a small network's forward pass.
    elif seed in _seeded:
        torch.set_rng_state(_seeded[seed])
    else:
        torch.manual_seed(seed)
        _seeded[seed] = torch.get_rng_state()


def drawn(seed: int) -> bool:
    """Whether random numbers of torch's may have been drawn since `reseed` with the same seed."""
    return seed not in _seeded or not torch.equal(_seeded[seed], torch.get_rng_state())


class _Unlogged:
    """A trainer for a copy of the module: the real one, without its loggers."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.logger = None
        self.loggers: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_trainer"), name)


def twin(pl_module: Any, trainer: Any, skip: Callable[[str], None] | None = None) -> Any:
    """A copy of the module that logs nothing, None where it can't be copied. Its data it shares with the module.

    Args:
        pl_module: The module.
        trainer: Its trainer, which the copy shares too.
        skip: What is told why there is no copy, such as a guard's `skip`.
    """
    memo: dict[int, Any] = {id(trainer): trainer}
    for value in list(vars(pl_module).values()):
        if isinstance(value, (DataLoader, Dataset)) or type(value).__name__.endswith(("Trainer", "DataModule")):
            memo[id(value)] = value
    try:
        with undrawn():
            twin: Any = copied(pl_module, memo)
        for part in twin.modules():
            part._compiled_call_impl = None  # compiled in place it would call the original
        if getattr(twin, "_trainer", None) is not None:
            object.__setattr__(twin, "_trainer", _Unlogged(trainer))
        for name in [name for name, value in vars(twin).items() if hasattr(value, ATTACHED)]:
            delattr(twin, name)  # it would lead back to the original
        for name in ("log", "log_dict", "print"):
            if hasattr(twin, name):
                object.__setattr__(twin, name, _nothing)
    except Exception as error:
        if skip is not None:
            skip(f"the module can't be copied: {type(error).__name__}: {error}")
        return None
    return twin


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """What is compiled runs as it is written: a copy of it would be compiled anew, at the training's expense."""
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    with stance("force_eager") if stance else contextlib.nullcontext():
        yield


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for methods that report."""


@contextlib.contextmanager
def trial(trainer: Any, grad: bool = False) -> Iterator[None]:
    """What a copy of the module is run in: no number is drawn, no gradient taken, and the precision is the "
    "Trainer's.
    """
    global _trying
    plugin = getattr(trainer, "precision_plugin", None)
    context = getattr(plugin, "forward_context", contextlib.nullcontext)
    before, _trying = _trying, True
    try:
        # Lightning validates in inference mode, whose tensors no backward pass can go through.
        with undrawn(), _uncompiled(), torch.inference_mode(False), torch.set_grad_enabled(grad), context():
            yield
    finally:
        _trying = before


def step(module: Any, batch: Any, batch_idx: int, which: str = "training_step") -> Any:
    """What a step of the module gives for a batch, whether it asks for the index or not."""
    own = getattr(module, which)
    code = getattr(getattr(own, "__func__", own), "__code__", None)
    takes_index = code is None or code.co_argcount > 2 or "batch_idx" in code.co_varnames
    return own(batch, batch_idx) if takes_index else own(batch)


def learns(pl_module: Any) -> bool:
    """Whether Lightning does backward and step for the module, so that a step's loss is what is minimised."""
    return bool(getattr(pl_module, "automatic_optimization", True))


def loss_of(outputs: Any) -> torch.Tensor | None:
    """The loss in what a training step returned."""
    # Asking whether something is a Mapping costs more than all the rest.
    value = outputs.get("loss") if type(outputs) is dict or isinstance(outputs, Mapping) else outputs
    return value.detach() if isinstance(value, torch.Tensor) and value.numel() == 1 else None

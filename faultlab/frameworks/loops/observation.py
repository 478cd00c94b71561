"""One observed clean run of a training loop, in a process of its own, which shows the loop's layout."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import DataLoader

from faultlab.core import packages
from faultlab.core.alert import safe_text
from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.loops import iteration, trainers
from faultlab.frameworks.loops.layout import Layout, key_of
from faultlab.frameworks.loops.sources import Sources
from faultlab.frameworks.loops.successive import Span, spans_apart
from faultlab.frameworks.torch.wrappers import unwrapped
from faultlab.injection import compilation
from faultlab.sandbox import file_calls

_DEADLINE = 600.0
"""Seconds that the observed run may take."""

_BY_HAND = "A loop that changes its weights by hand is out of reach: step an optimizer, such as torch.optim.SGD."
_NO_TRAINING = "Call the function that builds the model and trains it, in this process."


class Observation:
    """Watches which modules are called, which of their parameters are optimized, and which batches are learnt from."""

    def __init__(self) -> None:
        self._numbers: dict[type, int] = {}
        self._modules: dict[int, tuple[nn.Module, int]] = {}
        self._called: dict[int, nn.Module] = {}
        self._held: dict[int, int] = {}
        self._first: list[nn.Module] = []
        self._started: list[str] = []
        self._sources = Sources()
        self._updates = 0
        self._backwards = False
        self._spans: dict[int, Span] = {}
        self._depth = 0
        self._optimizers: set[type] = set()
        self._trainer = ""

    def attach(self, patches: Patches) -> None:
        """Watch the process until the patches are closed."""
        patches.wrap(nn.Module, "__init__", self._constructing)
        patches.wrap(nn.Module, "__call__", self._calling)
        patches.wrap(torch.optim.Optimizer, "__init__", lambda construct: self._optimizing(construct, patches))
        iteration.replace(patches, self._iterating)
        patches.wrap(subprocess.Popen, "__init__", self._starting)
        patches.wrap(BaseProcess, "start", self._starting)
        # Which `Tensor.backward` calls, too.
        patches.wrap(torch.autograd, "backward", self._backward)

    def layout(self) -> Layout:
        """Return what was seen.

        Raises:
            TargetError: No module was trained.
        """
        if not self._held:
            elsewhere = f" in this process: it started {self._started[0]}" if self._started else ""
            message = f"no optimizer of torch's was stepped while it ran{elsewhere}"
            by_hand = ", although backward was called" if self._backwards and not elsewhere else ""
            raise TargetError(("train",), message + by_hand, _BY_HAND if by_hand else _without_optimizer())
        trained = self._trained()
        if not trained:
            remedy = "Call the model itself, as in `model(x)`, and give its parameters to the optimizer."
            raise TargetError(("train",), "no module was called whose parameters an optimizer holds", remedy)
        whole = self._holding(trained)
        first, later = ([whole], []) if whole is not None else self._successive(trained)
        updates = max((self._span(module).last for module in first), default=0) + 1 if later else self._updates
        found = self._sources.roles(updates)
        # Steps begin where the Trainer says so.
        ahead = self._sources.ahead(found.counting[0]) if found.counting and not self._trainer else 0
        named = [self._named(module) for module in first]
        until = self._named(later[0]) if later else None
        return Layout(tuple(named), found.counting, ahead, self._trainer, found.beside, found.aside, until)

    def _trained(self) -> list[nn.Module]:
        """Return the modules that are called and trained, the one with the most parameters first."""
        trained: list[nn.Module] = []
        covered: set[int] = set()
        for module in sorted(self._called.values(), key=self._size, reverse=True):
            held = {id(parameter) for parameter in module.parameters()} & self._held.keys()
            if held - covered:
                trained.append(module)
                covered |= held
        return trained

    def _successive(self, trained: list[nn.Module]) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the modules of the first training, and those that are trained only after it, each in its order."""
        spans = {id(module): self._span(module) for module in trained}
        first, later = spans_apart(list(spans.values()))
        in_time = sorted(trained, key=lambda module: spans[id(module)].first)
        return (
            [module for module in trained if spans[id(module)] in first],
            [module for module in in_time if spans[id(module)] in later],
        )

    def _span(self, module: nn.Module) -> Span:
        """Return the first and the last update of a module's parameters."""
        own = [self._spans[id(p)] for p in module.parameters() if id(p) in self._spans]
        return Span(min(one.first for one in own), max(one.last for one in own))

    def _named(self, module: nn.Module) -> tuple[str, int]:
        """Return the class path of a module, and its number among those of its class."""
        own, number = self._modules[id(module)]
        return path_of(type(own)), number

    def _size(self, module: nn.Module) -> int:
        """Return the number of a module's parameters that an optimizer holds."""
        return sum(self._held.get(id(parameter), 0) for parameter in module.parameters())

    def _holding(self, trained: list[nn.Module]) -> nn.Module | None:
        """Return the smallest module that several are parts of, which the loop calls one by one; None without one."""
        wanted = set(map(id, trained))
        # Not one that is only made of them later, as for an evaluation.
        whole = [module for module in self._first if len(trained) > 1 and wanted <= _parts(module)]
        return min(whole, key=lambda module: len(_parts(module)), default=None)

    def _starting(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def starting(process: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(process, BaseProcess):
                command = args[0] if args else kwargs["args"]
                self._started.append(repr(command if isinstance(command, str) else shlex.join(map(str, command))))
            # The workers of a loader don't train.
            elif (called := getattr(getattr(process, "_target", None), "__qualname__", "")) != "_worker_loop":
                self._started.append(f"a process that calls {called or type(process).__name__}")
            return start(process, *args, **kwargs)

        return starting

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            known = "_parameters" in vars(module)
            construct(module, *args, **kwargs)
            if not known:
                number = self._numbers[type(module)] = self._numbers.get(type(module), 0) + 1
                self._modules[id(module)] = module, number

        return constructing

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not self._depth and id(module) in self._modules:
                if torch.is_grad_enabled():
                    own = unwrapped(module)
                    self._called.setdefault(id(own), own)
                    self._sources.called()
                else:
                    self._sources.evaluated()
            self._depth += 1
            try:
                return call(module, *args, **kwargs)
            finally:
                self._depth -= 1

        return calling

    def _optimizing(self, construct: Callable[..., Any], patches: Patches) -> Callable[..., Any]:
        def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            if type(optimizer) not in self._optimizers:
                self._optimizers.add(type(optimizer))
                patches.wrap(type(optimizer), "step", self._stepping)

        return making

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not self._held:
                self._trainer = trainers.running()
            self._first = self._first or [module for module, _ in self._modules.values()]
            # Whatever has computed the gradients, as `torch.autograd.grad` may.
            self._sources.learn(self._updates)
            for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
                self._held[id(parameter)] = parameter.numel()
                since = self._spans.get(id(parameter), Span(self._updates, self._updates))
                self._spans[id(parameter)] = Span(since.first, self._updates)
            self._updates += 1
            return step(optimizer, *args, **kwargs)

        return stepping

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: DataLoader[Any]) -> Iterator[Any]:
            return self._sources.noted(key_of(loader), iterate(loader))

        return iterating

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(*args: Any, **kwargs: Any) -> Any:
            self._backwards = True
            self._sources.learn(self._updates)
            return backward(*args, **kwargs)

        return backwards


def _without_optimizer() -> str:
    for package, name in packages.OWN_OPTIMIZERS.items():
        if package in sys.modules:
            return f"{name} has optimizers of its own, out of reach of faultlab; it can break a loop with torch.optim."
    return _NO_TRAINING


def _parts(module: nn.Module) -> set[int]:
    return set(map(id, module.modules()))


def observe(train: Callable[[], object], folders: Sequence[str]) -> Layout:
    """Run ``train`` in a copy of this process and return the layout of its loop.

    Args:
        train: Trains to its end.
        folders: The user's folders, which nothing is written to.

    Raises:
        TargetError: It trains nothing, raises, exits, or takes longer than ten minutes.
    """
    reading, writing = os.pipe()
    root = tempfile.mkdtemp(prefix="faultlab-observed-")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _in_copy(train, folders, root, writing)
    os.close(writing)
    try:
        told = _read(reading, pid)
    finally:
        os.close(reading)
        shutil.rmtree(root, ignore_errors=True)
    if "error" in told:
        raise TargetError(("train",), told["error"], told["remedy"])
    return Layout.from_json(told)


def _in_copy(train: Callable[[], object], folders: Sequence[str], root: str, writing: int) -> NoReturn:
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writing, json.dumps(_observed(train, folders, root)).encode())
    finally:
        # Nothing of the parent's is to be flushed or finalized here.
        os._exit(0)


def _observed(train: Callable[[], object], folders: Sequence[str], root: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    observation = Observation()
    try:
        redirected = file_calls.redirected(os.path.join(root, "files"), [os.getcwd(), *folders])
        with compilation.lifted(), redirected, Patches() as patches:
            observation.attach(patches)
            train()
        return observation.layout().to_json()
    except TargetError as error:
        return {"error": error.message, "remedy": error.remedy}
    except BaseException as error:
        message = f"the clean run ends with {type(error).__name__}: {safe_text(error)}"
        return {"error": message, "remedy": "It has to train to its end before it can be broken."}


def _read(reading: int, pid: int) -> dict[str, Any]:
    text, deadline = b"", time.monotonic() + _DEADLINE
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        part = os.read(reading, 1 << 16)
        if not part:
            os.waitpid(pid, 0)
            if text:
                told: dict[str, Any] = json.loads(text)
                return told
            return {"error": "the process of the clean run died", "remedy": "Run it by itself and see how it ends."}
        text += part
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"error": f"the clean run takes more than {_DEADLINE:.0f} s", "remedy": "Give it less data or fewer epochs."}

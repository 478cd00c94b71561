"""What the model says of a sample depends on that sample alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import draws, listening, mixing, trainer_state, trials
from faultlab.guards.support.training_view import TrainingView

_TRIED = 16
_Normalising = nn.modules.batchnorm._BatchNorm


class SamplesIndependent(Guard):
    """Detects a forward whose output for a sample depends on the other samples of the batch, on their order, on what
    was asked before, or on chance that nobody seeds.

    Once an epoch a copy of the module, in eval mode, is given inputs of the first training batch twice, sixteen samples
    of them, and then the latter half of those. Equal inputs have to give equal outputs, and the half its outputs. A
    forward that draws random numbers in eval mode is only looked at further if ``deterministic`` says that it must not.

    It keeps quiet where the first dimension of all inputs is not that of the samples (by the loader's batch size),
    where the inputs are of a class of somebody's own, where the outputs are not one a sample, and with normalisation or
    quantisation that uses the batch in eval mode too. A model that
    compares the samples of a batch with each other by design keeps it busy for nothing: leave it out there.
    """

    level: ClassVar[Level] = "full"
    judges = "forward"
    checks = {
        "random": "equal inputs give different outputs",
        "cached": "different inputs give the same outputs",
        "mixes": "a sample's output depends on the other samples of the batch",
    }
    causes = {
        "random": "random, deterministic, seed, noise, differ, same output, belong, eval, forward, training mode",
        "cached": "cached, same output, samples, forward",
        "mixes": "mixes, other samples, independent, leak, permuted, sorted, softmax, dimension, output, in forward",
    }

    def __init__(
        self,
        tolerance: float = 1e-3,
        deterministic: bool = False,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.tolerance = tolerance
        self.deterministic = deterministic
        self._seen: list[tuple[str, Any, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_seen": []}

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._stop()
            seen: list[tuple[str, Any, Any]] = []
            self._seen = seen
            for name, part in listening.parts(pl_module):
                if "." not in name:
                    self.ears.before(part, _listener(name, seen))

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.ears:
            return
        seen = self._seen
        self._stop()
        size = getattr(trainer.train_dataloader, "batch_size", None)
        fitting = [call for call in seen if call[0] == ""] or [call for call in seen if len(seen) == 1]
        if size is None:
            self.skip("the loader's batch size is not known")
            return
        if not fitting:
            self.skip("the step calls several parts of the module, or none that can be heard")
            return
        if any(map(_uses_batch, pl_module.modules())):
            self.skip("a layer uses the whole batch in eval mode too")
            return
        name, args, kwargs = fitting[0]
        inputs = trainer_state.tensors((args, kwargs))
        if len(trainer_state.tensors(_part((args, kwargs), 1))) != len(inputs):
            self.skip("inputs of a class of somebody's own can't be taken apart")
            return
        if not inputs or any(not tensor.dim() or len(tensor) != size for tensor in inputs) or size < 4:
            self.skip("the inputs are no batch of four samples or more by their first dimension")
            return
        trial = trials.shared(pl_module, trainer, self.skip)
        if trial is None:
            return
        runner = trial.module if name == "" else getattr(trial.module, name)
        try:
            found = self._compare(trial, runner, args, kwargs, min(size, _TRIED))
        except Exception as error:
            self.skip(f"the copy's forward failed: {type(error).__name__}: {error}")
            return
        self.looked += 1
        if found:
            self.alarm(*found)

    def _stop(self) -> None:
        self.ears.rest()
        self._seen = []

    def _compare(
        self, trial: trials.Trial, runner: Any, args: Any, kwargs: Any, size: int
    ) -> tuple[str, str, str] | None:
        drew = False

        def run(n: int, seed: int, start: int = 0) -> list[Tensor]:
            nonlocal drew
            with trial.running(evaluates=True):
                draws.reseed(seed)
                output = runner(*_part(args, n, start), **_part(kwargs, n, start))
                drew = drew or draws.drawn(seed)
                return [tensor.clone() for tensor in trainer_state.tensors(output) if tensor.is_floating_point()]

        # What goes through the batch as if it were time tells the later samples of the earlier ones alone.
        start = size // 2
        half = size - start
        kept = _kept(runner)
        first = run(size, 1)
        part: list[Tensor] | None = None
        with contextlib.suppress(Exception):  # to be met again below, if chance is not found before
            part = run(size, 1, start)
        if not drew and part is not None and self._is_part(part, _tail(first, half)):
            # Neither chance nor the other samples make a difference.
            return None
        again = run(size, 1)
        # What draws nothing does not depend on the seed.
        other = run(size, 2) if drew else again
        differs = self._differ(first, again)
        if differs and not drew and list(map(id, _kept(runner))) != list(map(id, kept)):
            # A recurrent network goes on from where the call before has left it.
            self.skip("the module keeps tensors from one call to the next")
            return None
        if differs or (self.deterministic and self._differ(first, other)):
            return (
                "random",
                "the same inputs give different outputs in eval mode: forward is not deterministic, it has noise or "
                "random numbers in it",
                "What is random belongs into training alone; what is drawn should come from torch's seeded generator.",
            )
        if self._differ(first, other):
            return None
        part = run(size, 1, start) if part is None else part
        if part and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(part, first, strict=False)):
            return (
                "cached",
                f"{half} samples give the same output as {size}: forward gives back what it has cached",
                "Keep no output on the module from one call to the next.",
            )
        if not _is_each_samples_own(first, part, size, half):
            return None
        if self._differ(_tail(first, half), part):
            where, remedy = mixing.place(run, size)
            return (
                "mixes",
                f"the outputs of {half} samples are others when {size - half} other samples are in the batch: samples "
                "are mixed, permuted or leak into each other, so they are not independent" + where,
                remedy or "Look for a wrong dimension (batch_first, reshape, softmax, roll, sort) in forward.",
            )
        return None

    def _is_part(self, part: list[Tensor], tail: list[Tensor]) -> bool:
        return [a.shape for a in part] == [b.shape for b in tail] and not self._differ(tail, part)

    def _differ(self, one: list[Tensor], other: list[Tensor]) -> bool:
        if len(one) != len(other):
            return False
        for a, b in zip(one, other, strict=True):
            if a.shape != b.shape or not a.numel():
                continue
            far, size = torch.stack([(a - b).abs().max(), a.abs().max()]).tolist()
            tolerance = self.tolerance if a.dtype in (torch.float32, torch.float64) else 50 * self.tolerance
            # What is not finite in one of them leaves no finite distance.
            if math.isfinite(far) and math.isfinite(size) and far > tolerance * max(size, 1e-6):
                return True
        return False


def _is_each_samples_own(whole: list[Tensor], part: list[Tensor], size: int, half: int) -> bool:
    """Whether all outputs have a row for each sample, of which ``whole`` is given ``size`` and ``part`` ``half``."""
    return all(a.dim() and len(a) == size and len(b) == half for a, b in zip(whole, part, strict=False))


def _tail(outputs: list[Tensor], count: int) -> list[Tensor]:
    """The last rows, where there are more."""
    return [output[-count:] if output.dim() and len(output) > count else output for output in outputs]


def _listener(name: str, seen: list[tuple[str, Any, Any]]) -> Any:
    def listen(module: Any, args: Any, kwargs: Any) -> None:
        if not trials.trying() and len(seen) < 8:
            seen.append((name, args, kwargs))

    return listen


def _kept(runner: Any) -> list[Tensor]:
    """What tensors a module and its parts hold that are neither parameters nor buffers."""
    parts = runner.modules() if isinstance(runner, nn.Module) else ()
    values = [value for part in parts for name, value in vars(part).items() if not name.startswith("_")]
    return [tensor for value in values for tensor in trainer_state.tensors(value)]


def _part(value: Any, n: int, start: int = 0) -> Any:
    """Samples of some inputs from one to before another, of their own memory; None of what can't be taken apart."""
    if isinstance(value, Tensor):
        return value.detach()[start:n].clone() if value.dim() else value
    if isinstance(value, Mapping):
        parts = {key: _part(part, n, start) for key, part in value.items()}
        # A mapping of another class, as tokenizers give, mostly takes another one of the same keys.
        return parts if type(value) is dict else type(value)(parts)  # type: ignore[call-arg]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_part(part, n, start) for part in value))
    if type(value) in (tuple, list):
        return type(value)(_part(part, n, start) for part in value)
    return None if trainer_state.tensors(value) else value


def _uses_batch(module: nn.Module) -> bool:
    """Whether a layer takes its statistics, or the range that it rounds to, from the batch in eval mode too."""
    name = type(module).__name__.lower()
    return "quant" in name or "observer" in name or (isinstance(module, _Normalising) and module.running_mean is None)

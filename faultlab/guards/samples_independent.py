"""The guard that checks that the model's output for a sample depends on that sample only."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import draws, mixing, trainer_state, trials
from faultlab.guards.support.rebuilding import NotRebuiltError, mapped
from faultlab.guards.support.recorded_calls import RecordedCalls
from faultlab.guards.support.training_view import TrainingView

_TRIED = 16
_Normalising = nn.modules.batchnorm._BatchNorm


class SamplesIndependent(Guard):
    """A guard against outputs that depend on other samples, on earlier calls, or on unseeded random numbers.

    Once per epoch a copy of the module in eval mode is run twice on sixteen samples of the first training batch, and
    then on their second half. Equal inputs have to give equal outputs, and the half the same outputs as before.

    Not judged are inputs whose first dimension is not that of samples (by the loader's batch size), inputs of custom
    classes, outputs without a row for each sample, and layers that use the batch for normalization or quantization in
    eval mode too. Leave the guard out for a model that compares the samples of a batch by design.

    Args:
        tolerance: The allowed difference of outputs, as a share of the largest value; fifty times that in half
            precision.
        deterministic: Whether a forward pass that draws random numbers in eval mode raises an alarm. Otherwise it is
            not judged.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
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
        self._calls = RecordedCalls(self.ears)

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        trials.prepare(pl_module, trainer, self.skip)

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._calls.begin(pl_module)

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._calls.is_on:
            return
        seen = self._calls.end()
        size = getattr(trainer.train_dataloader, "batch_size", None)
        fitting = [call for call in seen if call[0] == ""] or [call for call in seen if len(seen) == 1]
        if size is None:
            self.skip("the loader's batch size is not known")
            return
        if not fitting:
            self.skip("the step calls several parts of the module, or none that can be observed")
            return
        if any(map(_uses_batch, pl_module.modules())):
            self.skip("a layer uses the whole batch in eval mode, too")
            return
        name, args, kwargs = fitting[0]
        inputs = trainer_state.tensors((args, kwargs))
        try:
            _part((args, kwargs), 1)
        except NotRebuiltError as error:
            self.skip(str(error))
            return
        if not inputs or any(not tensor.dim() or len(tensor) != size for tensor in inputs) or size < 4:
            self.skip("the inputs are not a batch of at least four samples by their first dimension")
            return
        trial = trials.shared(pl_module, trainer, self.skip)
        if trial is None:
            return
        runner = trial.part(name)
        try:
            found = self._compare(trial, runner, args, kwargs, min(size, _TRIED))
        except Exception as error:
            self.skip(f"the forward pass of the copy failed: {type(error).__name__}: {error}")
            return
        self.looked += 1
        if found:
            self.alarm(*found)

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

        # The second half: a layer that takes the batch for time leaks only from earlier samples to later ones.
        start = size // 2
        half = size - start
        kept = _kept(runner)
        first = run(size, 1)
        part: list[Tensor] | None = None
        with contextlib.suppress(Exception):  # raised again below, if no randomness is found before
            part = run(size, 1, start)
        if not drew and part is not None and self._is_part(part, _tail(first, half)):
            # Neither randomness nor the other samples make a difference.
            return None
        again = run(size, 1)
        # Without draws the output does not depend on the seed.
        other = run(size, 2) if drew else again
        differs = self._differ(first, again)
        if differs and not drew and list(map(id, _kept(runner))) != list(map(id, kept)):
            # A recurrent network continues from the state of the call before.
            self.skip("the module keeps tensors from one call to the next")
            return None
        if differs or (self.deterministic and self._differ(first, other)):
            return (
                "random",
                "the same inputs give different outputs in eval mode: forward is not deterministic, since it "
                "contains noise or random numbers",
                "Draw random numbers only in training, from torch's seeded generator.",
            )
        if self._differ(first, other):
            return None
        part = run(size, 1, start) if part is None else part
        if part and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(part, first, strict=False)):
            return (
                "cached",
                f"{half} samples give the same output as {size}: forward returns what it has cached",
                "Don't keep outputs on the module between calls.",
            )
        if not _is_each_samples_own(first, part, size, half):
            return None
        if self._differ(_tail(first, half), part):
            where, remedy = mixing.place(run, size)
            return (
                "mixes",
                f"the outputs of {half} samples change if {size - half} other samples are in the batch: samples are "
                "mixed, permuted or leak into each other, and are not independent" + where,
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
            # The distance is not finite if an output is not.
            if math.isfinite(far) and math.isfinite(size) and far > tolerance * max(size, 1e-6):
                return True
        return False


def _is_each_samples_own(whole: list[Tensor], part: list[Tensor], size: int, half: int) -> bool:
    """Return whether all outputs have a row for each sample: ``size`` rows in ``whole``, ``half`` in ``part``."""
    return all(a.dim() and len(a) == size and len(b) == half for a, b in zip(whole, part, strict=False))


def _tail(outputs: list[Tensor], count: int) -> list[Tensor]:
    """Return the last rows of each output that has more."""
    return [output[-count:] if output.dim() and len(output) > count else output for output in outputs]


def _kept(runner: Any) -> list[Tensor]:
    """Return the tensors of a module and its parts that are neither parameters nor buffers."""
    parts = runner.modules() if isinstance(runner, nn.Module) else ()
    values = [value for part in parts for name, value in vars(part).items() if not name.startswith("_")]
    return [tensor for value in values for tensor in trainer_state.tensors(value)]


def _part(value: Any, n: int, start: int = 0) -> Any:
    """Return copies of the samples ``start`` to ``n`` of some inputs; raise NotRebuiltError if they can't be split."""
    return mapped(value, lambda tensor: tensor.detach()[start:n].clone() if tensor.dim() else tensor)


def _uses_batch(module: nn.Module) -> bool:
    """Return whether a layer takes its statistics, or its range for rounding, from the batch in eval mode too."""
    # The projection in torch's attention is named after the quantization that it is not for.
    name = type(module).__name__.lower().replace("quantizable", "")
    return "quant" in name or "observer" in name or (isinstance(module, _Normalising) and module.running_mean is None)

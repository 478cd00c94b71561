"""The guard that checks that a model which predicts the next token does not see it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.labels import IGNORED
from faultlab.guards.support import draws, trainer_state, trials
from faultlab.guards.support.recorded_calls import Call, RecordedCalls
from faultlab.guards.support.training_view import TrainingView

_LEAST = 3
_TOKENS = (torch.int64, torch.int32)
_LOSSES = ("cross_entropy", "nll_loss")


class FutureHidden(Guard):
    """A guard against models that see the tokens which they have to predict, such as if a causal mask is missing.

    It judges models that predict the next token: the labels of the batch, or the targets of a cross-entropy, are the
    tokens that the model is called with, shifted by one. Once per epoch a copy of the module in eval mode is run on the
    first training batch, and once more with the last predicted token of each row replaced. The outputs for the tokens
    before it have to stay the same.

    Args:
        tolerance: The allowed difference of outputs, as a share of the largest value; fifty times that in half
            precision.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "forward"
    checks = {"sees-later": "the output for a token depends on a later one, which it should predict"}
    causes = {"sees-later": "causal, mask, attention, future, later position, later token, leak, next token"}

    def __init__(self, tolerance: float = 1e-3, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.tolerance = tolerance
        self._calls = RecordedCalls(self.ears)

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._calls.begin(pl_module)

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._calls.is_on:
            return
        # The module's own calls first.
        seen = sorted(self._calls.end(), key=lambda call: call[0] != "")
        calls = [(call, tokens) for call in seen for tokens in _texts(call[1:])]
        if not calls:
            return
        batch_tensors = trainer_state.tensors(batch)
        told = ((call, tokens, _told(tokens, batch_tensors)) for call, tokens in calls)
        call, tokens, targets = next((found for found in told if found[2] is not None), (*calls[0], None))
        try:
            if targets is None:
                targets = self._observed(pl_module, trainer, batch, batch_idx, call, tokens)
            trial = trials.shared(pl_module, trainer, self.skip) if targets is not None else None
            if trial is None or targets is None:
                return
            where = self._leaks(trial, call, tokens, targets)
        except Exception as error:
            self.skip(f"the forward pass of the copy failed: {type(error).__name__}: {error}")
            return
        self.looked += 1
        if where:
            self.alarm(
                "sees-later",
                f"the output for token {where[0]} of a row changes if token {where[1]} is replaced: the model sees the "
                "tokens that it has to predict, and learns to copy them",
                "Give the attention its causal mask (is_causal=True, or a mask of the later positions), and let no "
                "layer run backward over the tokens.",
            )

    def _observed(
        self, pl_module: Any, trainer: TrainingView, batch: Any, batch_idx: int, call: Call, tokens: Tensor
    ) -> Tensor | None:
        """Return which tokens the loss of a step has as targets, by running the step of a copy."""
        # Not a shared copy: in training mode a step changes running statistics.
        trial = trials.own(pl_module, trainer, self.skip)
        if trial is None:
            return None
        watch = _Targets(tokens)
        name, args, kwargs = call
        with trial.running(), watch:
            if hasattr(trial.module, "training_step"):
                trial.step(batch, batch_idx)
            elif kwargs.get("labels") is not None:
                _runner(trial, name)(*args, **kwargs)
        return watch.found

    def _leaks(self, trial: trials.Trial, call: Call, tokens: Tensor, targets: Tensor) -> tuple[int, int] | None:
        """Return the positions of an output that changes and of the token that was replaced, None without such."""
        name, args, kwargs = call
        places = torch.arange(tokens.shape[1], device=tokens.device)
        last = torch.where(targets, places, 0).amax(1)
        rows = torch.arange(len(tokens), device=tokens.device)
        others = tokens != tokens[rows, last][:, None]
        judged = (last > 0) & others.any(1)
        if not bool(judged.any()):
            return None
        changed = tokens.clone()
        changed[rows, last] = torch.where(judged, tokens[rows, others.long().argmax(1)], tokens[rows, last])

        def run(given: Tensor) -> Tensor | None:
            with trial.running(evaluates=True):
                draws.reseed(1)
                made = _runner(trial, name)(*_replaced(args, tokens, given), **_replaced(kwargs, tokens, given))
                return _by_token(made, tokens)

        first, other = run(tokens), run(changed)
        if first is None or other is None or first.shape != other.shape:
            self.skip("the outputs are not one for each token")
            return None
        tolerance = self.tolerance if first.dtype in (torch.float32, torch.float64) else 50 * self.tolerance
        most = float(first.abs().max())
        before = (places < last[:, None]) & judged[:, None]
        apart = torch.where(before, (first - other).abs().amax(2).float(), 0.0)
        if not math.isfinite(most) or not bool((apart > tolerance * max(most, 1e-6)).any()):
            return None
        again = run(tokens)
        if again is None or not torch.equal(first, again):
            self.skip("the same inputs give different outputs")
            return None
        row, place = divmod(int(apart.argmax()), apart.shape[1])
        return place, int(last[row])


class _Targets(TorchFunctionMode):
    """Observes losses; ``found`` is which tokens are the targets of one, ``bool[rows, positions]``."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.found: Tensor | None = None
        self._tokens = tokens

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.found is None and getattr(func, "__name__", "") in _LOSSES:
            target = args[1] if len(args) > 1 else kwargs.get("target")
            ignored = kwargs.get("ignore_index", args[4] if len(args) > 4 else IGNORED)
            if isinstance(target, Tensor):
                self.found = _shifted(self._tokens, target, ignored)
        return func(*args, **kwargs)


def _shifted(tokens: Tensor, labels: Tensor, ignored: int = IGNORED) -> Tensor | None:
    """Return which tokens are among the labels, ``bool[rows, positions]``, None if labels are not the next tokens.

    Labels have a column for each token, with that of the last one unknown here, or one less.
    """
    rows, width = tokens.shape
    if labels.is_floating_point() or labels.numel() not in (rows * width, rows * (width - 1)):
        return None
    following = labels.reshape(rows, -1)[:, : width - 1]
    counted = following != ignored
    if not bool(counted.any()) or bool((counted & (following != tokens[:, 1:])).any()):
        return None
    if bool((tokens[:, 1:] == tokens[:, :-1]).all()):
        return None
    return torch.nn.functional.pad(counted, (1, 0))


def _told(tokens: Tensor, batch: list[Tensor]) -> Tensor | None:
    """Return which tokens of a text are targets, by the batch: by its labels, or by texts that are longer by one."""
    for tensor in batch:
        if tensor.ndim != 2 or tensor.dtype not in _TOKENS or tensor.device != tokens.device:
            continue
        if tensor.shape == tokens.shape and (found := _shifted(tokens, tensor)) is not None:
            return found
        if tensor.shape == (len(tokens), tokens.shape[1] + 1) and torch.equal(tensor[:, :-1], tokens):
            return torch.nn.functional.pad(torch.ones_like(tokens[:, 1:], dtype=torch.bool), (1, 0))
    return None


def _texts(given: Any) -> Iterator[Tensor]:
    """Yield the tensors of a call that may be texts, ``int[rows, positions]``."""
    for tensor in trainer_state.tensors(given):
        if tensor.ndim == 2 and tensor.dtype in _TOKENS and tensor.shape[1] >= _LEAST:
            yield tensor


def _by_token(made: Any, tokens: Tensor) -> Tensor | None:
    """Return the first output with values for each token, ``float[rows, positions, values]``."""
    for tensor in trainer_state.tensors(made):
        if tensor.is_floating_point() and tensor.ndim == 3:
            if tensor.shape[:2] == tokens.shape:
                return tensor.clone()
            if tensor.shape[:2] == tokens.shape[::-1]:
                return tensor.transpose(0, 1).clone()
            if (tensor.shape[0], tensor.shape[2]) == tokens.shape:
                return tensor.transpose(1, 2).clone()
    return None


def _replaced(value: Any, old: Tensor, new: Tensor) -> Any:
    """Return arguments with one tensor in place of another."""
    if value is old:
        return new
    if type(value) is dict:
        return {key: _replaced(part, old, new) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_replaced(part, old, new) for part in value)
    return value


def _runner(trial: trials.Trial, name: str) -> Any:
    return trial.module if name == "" else getattr(trial.module, name)

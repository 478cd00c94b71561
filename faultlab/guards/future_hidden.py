"""The guard that checks that a model which predicts the next token does not see it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.labels import IGNORED
from faultlab.guards.support import draws, trainer_state, trials
from faultlab.guards.support.rebuilding import mapped
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

    Not judged are models that keep a state from one call to the next, and those that draw random numbers in eval mode,
    such as variational autoencoders. Leave the guard out for other models that read a whole text before they write it.

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
        # The module's own calls first. An embedding alone mixes no positions.
        seen = sorted(self._calls.end(), key=lambda call: call[0] != "")
        calls = [call for call in seen if not _embeds(pl_module, call)]
        texts = [text for turned in (False, True) for call in calls for text in _texts(call, turned)]
        if not texts:
            return
        batch_tensors = trainer_state.tensors(batch)
        told = ((text, _told(text, [*batch_tensors, *trainer_state.tensors(text.call[1:])])) for text in texts)
        text, targets = next((found for found in told if found[1] is not None), (texts[0], None))
        try:
            if targets is None:
                text, targets = self._observed(pl_module, trainer, batch, batch_idx, texts)
            trial = trials.shared(pl_module, trainer, self.skip) if targets is not None else None
            if trial is None or targets is None:
                return
            where = self._leaks(trial, text, targets)
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
        self, pl_module: Any, trainer: TrainingView, batch: Any, batch_idx: int, texts: list[_Text]
    ) -> tuple[_Text, Tensor | None]:
        """Return a text, and which tokens the loss of a step has as targets, by running the step of a copy."""
        # Not a shared copy: in training mode a step changes running statistics.
        trial = trials.own(pl_module, trainer, self.skip)
        if trial is None:
            return texts[0], None
        watch = _Targets(texts)
        name, args, kwargs = texts[0].call
        with trial.running(), watch:
            if hasattr(trial.module, "training_step"):
                trial.step(batch, batch_idx)
            elif kwargs.get("labels") is not None:
                trial.part(name)(*args, **kwargs)
        return watch.text, watch.found

    def _leaks(self, trial: trials.Trial, text: _Text, targets: Tensor) -> tuple[int, int] | None:
        """Return the positions of an output that changes and of the token that was replaced, None without such."""
        tokens = text.tokens
        found = _changed(tokens, targets)
        if found is None:
            return None
        changed, last = found
        drew = False

        def run(given: Tensor) -> Tensor | None:
            nonlocal drew
            name, args, kwargs = text.call
            with trial.running(evaluates=True):
                draws.reseed(1)
                made = trial.part(name)(*text.replaced(args, given), **text.replaced(kwargs, given))
                drew = drew or draws.drawn(1)
                return _by_token(made, tokens, text.turned)

        first, other = run(tokens), run(changed)
        apart = self._apart(first, other, last)
        if first is None or apart is None or not bool(apart.any()):
            return None
        again = run(tokens)
        if again is None or not torch.equal(first, again):
            self.skip("the same inputs give different outputs")
            return None
        if drew:
            self.skip("the model draws random numbers in eval mode")
            return None
        # Again in one row alone: routing with a capacity lets rows affect each other.
        row = int(apart.amax(1).argmax())
        alone = run(torch.where(_is_row(tokens, row), changed, tokens))
        if alone is None:
            return None
        ways = [(first, alone)]
        if len(tokens) == tokens.shape[1]:
            ways.append((first.transpose(0, 1), alone.transpose(0, 1)))
        for way in ways:
            apart = self._apart(*way, last)
            if apart is not None and bool(apart[row].any()):
                return int(apart[row].argmax()), int(last[row])
        return None

    def _apart(self, first: Tensor | None, other: Tensor | None, last: Tensor) -> Tensor | None:
        """Return how far outputs before the replaced tokens differ, ``float[rows, positions]``, 0 within tolerance."""
        if first is None or other is None or first.shape != other.shape:
            self.skip("the outputs are not one for each token")
            return None
        tolerance = self.tolerance if first.dtype in (torch.float32, torch.float64) else 50 * self.tolerance
        most = float(first.abs().max())
        before = torch.arange(first.shape[1], device=last.device) < last[:, None]
        apart = (first - other).abs().amax(2).float()
        counts = before & (apart > tolerance * max(most, 1e-6)) & math.isfinite(most)
        return torch.where(counts, apart, 0.0)


class _Text(NamedTuple):
    """A tensor that a call is given and that may be a text.

    Attributes:
        call: The call.
        given: The tensor.
        turned: Its first dimension is that of positions.
    """

    call: Call
    given: Tensor
    turned: bool

    @property
    def tokens(self) -> Tensor:
        """The tokens, ``int[rows, positions]``."""
        return self.given.T if self.turned else self.given

    def replaced(self, arguments: Any, tokens: Tensor) -> Any:
        """Return arguments of the call with other tokens.

        Raises:
            NotRebuiltError: The text is part of an object that can't be built again.
        """
        new = (tokens.T if self.turned else tokens).clone()
        return mapped(arguments, lambda tensor: new if tensor is self.given else tensor)


class _Targets(TorchFunctionMode):
    """Observes losses; ``found`` is which tokens of ``text`` are the targets of one, ``bool[rows, positions]``."""

    def __init__(self, texts: list[_Text]) -> None:
        super().__init__()
        self.found: Tensor | None = None
        self.text = texts[0]
        self._texts = texts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.found is None and getattr(func, "__name__", "") in _LOSSES:
            target = args[1] if len(args) > 1 else kwargs.get("target")
            ignored = kwargs.get("ignore_index", args[4] if len(args) > 4 else IGNORED)
            for text in self._texts if isinstance(target, Tensor) else ():
                self.found = _shifted(text.tokens, target, ignored)
                if self.found is not None:
                    self.text = text
                    break
        return func(*args, **kwargs)


def _changed(tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return tokens with one target of each row replaced, and its position or 0; None if no row has one.

    It is the last one that is not padding, and becomes the nearest token before that is another.
    """
    width = tokens.shape[1]
    places = torch.arange(width, device=tokens.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    # Where a row's end repeats one token, that is padding.
    end = torch.where(tokens != tokens[:, -1:], places, -1).amax(1)
    end = torch.where(end == width - 2, width - 1, end)
    last = torch.where(targets & (places <= end[:, None]), places, 0).amax(1)
    others = (tokens != tokens[rows, last][:, None]) & (places < last[:, None])
    nearest = torch.where(others, places, -1).amax(1)
    last = torch.where(nearest >= 0, last, 0)
    changed = tokens.clone()
    changed[rows, last] = torch.where(last > 0, tokens[rows, nearest], tokens[rows, last])
    return (changed, last) if bool(last.any()) else None


def _shifted(tokens: Tensor, labels: Tensor, ignored: int = IGNORED) -> Tensor | None:
    """Return which tokens are among the labels, ``bool[rows, positions]``, None if labels are not the next tokens.

    Labels have a column for each token, with that of the last one unknown here, or one less. Rows may be columns.
    """
    rows, width = tokens.shape
    if labels.is_floating_point() or labels.numel() not in (rows * width, rows * (width - 1)):
        return None
    if bool((tokens[:, 1:] == tokens[:, :-1]).all()):
        return None
    for by_row in (labels.reshape(rows, -1), labels.reshape(-1, rows).T):
        following = by_row[:, : width - 1]
        counted = following != ignored
        if bool(counted.any()) and not bool((counted & (following != tokens[:, 1:])).any()):
            return nn.functional.pad(counted, (1, 0))
    return None


def _told(text: _Text, tensors: list[Tensor]) -> Tensor | None:
    """Return which tokens of a text are targets, by labels among the tensors, or by texts that are longer by one."""
    tokens = text.tokens
    for tensor in tensors:
        if tensor.ndim != 2 or tensor.dtype not in _TOKENS:
            continue
        # A loop moves its batch to the device by itself.
        known = (tensor.T if text.turned else tensor).to(tokens.device)
        if known.shape == tokens.shape and (found := _shifted(tokens, known)) is not None:
            return found
        if known.shape == (len(tokens), tokens.shape[1] + 1) and torch.equal(known[:, :-1], tokens):
            return nn.functional.pad(torch.ones_like(tokens[:, 1:], dtype=torch.bool), (1, 0))
    return None


def _texts(call: Call, turned: bool) -> Iterator[_Text]:
    """Yield the tensors of a call that may be texts."""
    for tensor in trainer_state.tensors(call[1:]):
        if tensor.ndim == 2 and tensor.dtype in _TOKENS and tensor.shape[0 if turned else 1] >= _LEAST:
            yield _Text(call, tensor, turned)


def _embeds(module: Any, call: Call) -> bool:
    return call[0] != "" and isinstance(getattr(module, call[0], None), nn.Embedding)


def _is_row(tokens: Tensor, row: int) -> Tensor:
    return (torch.arange(len(tokens), device=tokens.device) == row)[:, None]


def _by_token(made: Any, tokens: Tensor, turned: bool) -> Tensor | None:
    """Return the first output with values for each token, ``float[rows, positions, values]``."""
    rows, width = tokens.shape
    for tensor in trainer_state.tensors(made):
        if not tensor.is_floating_point():
            continue
        if tensor.ndim == 2 and len(tensor) == rows * width:
            return (tensor.view(width, rows, -1).transpose(0, 1) if turned else tensor.view(rows, width, -1)).clone()
        if tensor.ndim == 3:
            if tensor.shape[:2] == tokens.shape and not (turned and rows == width):
                return tensor.clone()
            if tensor.shape[:2] == (width, rows):
                return tensor.transpose(0, 1).clone()
            if (tensor.shape[0], tensor.shape[2]) == tokens.shape:
                return tensor.transpose(1, 2).clone()
    return None

"""The guard that checks that the loss of sequences ignores their padding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import batch_view, trials
from faultlab.guards.support.training_view import TrainingView

_LOSSES = ("cross_entropy", "nll_loss")


class PaddingIgnored(Guard):
    """A guard against a cross-entropy that counts the padding of token sequences.

    It looks for padding in the first batches: a token that fills the ends of rows of different lengths, occurs nowhere
    else, and is declared as padding by an embedding's `padding_idx` or by a mask or lengths in the batch. A copy of the
    module then runs the training step, and the calls of `cross_entropy` and `nll_loss` show what is counted. The alarm
    is raised for a reduced loss over all positions that excludes the padding's target neither by `ignore_index` nor by
    a weight of zero.

    Losses that the module reduces, masks or computes itself are not judged.

    Args:
        share: The minimum share of padding in a batch.
        looks: Batches to search for padding.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    checks = {"counted": "the loss counts padding"}
    causes = {
        "counted": "loss, ignore_index, -100, targets, mean",
    }

    def __init__(
        self, share: float = 0.05, looks: int = 8, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.share = share
        self.looks = looks
        self._looked = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._looked = 0

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._looked >= self.looks:
            return
        self._looked += 1
        padding = _padding(batch_view.look(batch), self.share)
        if padding is None or not _is_known(pl_module, batch_view.look(batch), *padding):
            return
        self._looked = self.looks
        # Not a shared copy: in training mode a step changes running statistics.
        trial = trials.own(pl_module, trainer, self.skip)
        if trial is None:
            return
        token, places = padding
        watch = _Losses(places)
        with trial.running(), watch:
            try:
                trial.step(batch, batch_idx)
            except Exception as error:
                self.skip(f"the training step of the copy failed: {type(error).__name__}: {error}")
                return
        self.looked += 1
        if watch.counted:
            share = float(places.float().mean())
            self.alarm(
                "counted",
                f"the loss of batch {batch_idx} counts padding: {share:.0%} of its positions hold the token {token}, "
                f"which fills up the sequences, and {watch.counted} counts them like words",
                f"Pass ignore_index={token} to the loss, or set the padding's targets to -100, so that it is the mean "
                "over real tokens.",
            )

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batch_view.forget()


class _Losses(TorchFunctionMode):
    """Observes calls of losses; ``counted`` is the name of one that counts padding."""

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.counted = ""
        self._places = places
        self._inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _LOSSES and not self._inside:
            self._inside = True
            try:
                if _counts(func, self._places, *args, **kwargs):
                    self.counted = name
                return func(*args, **kwargs)
            finally:
                self._inside = False
        return func(*args, **kwargs)


def _counts(
    loss: Any, places: Tensor, input: Tensor, target: Tensor, weight: Tensor | None = None, *args: Any, **kwargs: Any
) -> bool:
    """Return whether a call counts a target at the positions of padding, in the order of the batch or shifted by one.

    The remaining arguments are ``size_average``, ``ignore_index``, ``reduce`` and ``reduction``, as in torch.
    """
    ignored = kwargs.get("ignore_index", args[1] if len(args) > 1 else -100)
    reduction = kwargs.get("reduction", args[3] if len(args) > 3 else "mean")
    if reduction == "none" or target.is_floating_point() or places.device != target.device:
        return False
    rows = len(places)
    for part in (places, places[:, 1:], places[:, :-1]):
        if target.numel() != part.numel():
            continue
        wanted = part.reshape(target.shape) if target.dim() > 1 and len(target) == rows else part.reshape(-1)
        targets = target if wanted.dim() > 1 else target.reshape(-1)
        at = targets[wanted]
        if not at.numel() or bool((at != at[0]).any()) or int(at[0]) == ignored:
            continue
        if weight is not None and float(weight[int(at[0])]) == 0:
            continue
        each = loss(input, target, reduction="none", ignore_index=ignored).reshape(targets.shape)
        # If the model has nothing left to learn at the padding, counting it does no harm.
        return bool(each[wanted].mean() > 1e-3)
    return False


def _padding(seen: batch_view.Look, share: float) -> tuple[int, Tensor] | None:
    """Return the padding token of a batch and its positions, ``bool[rows, positions]``, or None if there is none."""
    for tensor in seen.usual.values():
        if tensor.dtype not in (torch.int64, torch.int32) or tensor.dim() != 2 or min(tensor.shape) < 4:
            continue
        for flipped in (False, True):
            tokens = tensor.flip(1) if flipped else tensor
            token = int(tokens[:, -1].mode().values)
            is_token = tokens == token
            places = is_token.flip(1).long().cumprod(1).flip(1).bool()
            lengths = places.sum(1)
            fills = bool((places == is_token).all()) and float(places.float().mean()) >= share
            if fills and _count(lengths) > 1 and int((lengths > 1).sum()) > 1 and _count(tokens) > 2:
                return token, places.flip(1) if flipped else places
    return None


def _count(values: Tensor) -> int:
    """Return the number of different values."""
    return len(set(values.flatten().tolist()))


def _is_known(pl_module: Any, seen: batch_view.Look, token: int, places: Tensor) -> bool:
    """Return whether an embedding, a mask or lengths confirm that the token is padding."""
    if any(isinstance(part, nn.Embedding) and part.padding_idx == token for part in pl_module.modules()):
        return True
    lengths = (~places).sum(1)
    for tensor in seen.usual.values():
        if tensor.shape == places.shape and not tensor.is_complex():
            mask = tensor != 0
            if bool(((tensor == 0) | (tensor == 1)).all()) and (
                torch.equal(mask, places) or torch.equal(mask, ~places)
            ):
                return True
        if tensor.shape == lengths.shape and torch.equal(tensor.to(lengths.dtype), lengths):
            return True
    return False

"""The guard that checks that the loss of sequences ignores their padding, which their labels share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import batch_view, loss_calls, pace, trials
from faultlab.guards.support import padding as padded
from faultlab.guards.support.training_view import TrainingView

_LOSSES = ("cross_entropy", "nll_loss")


class PaddingIgnored(Guard):
    """A guard against a cross-entropy that counts the padding of token sequences, and against labels of other rows.

    It looks for padding in the first batches: a token that fills the ends of rows of different lengths, occurs nowhere
    else, and is declared as padding by an embedding's `padding_idx` or by a mask or lengths in the batch. A copy of the
    module then runs the training step, and the calls of `cross_entropy` and `nll_loss` show what is counted; if the
    module has no such step, those of the batch itself do. The alarm is raised for a reduced loss over all positions
    that excludes the padding's target neither by `ignore_index` nor by a weight of zero.

    Labels of the inputs' shape that are negative at the ends of rows have to end where the inputs do. The alarm is
    raised if they have the inputs' lengths in another order: then they belong to other rows.

    Losses that the module reduces, masks or computes itself are not judged.

    Args:
        share: The minimum share of padding in a batch.
        looks: Batches to search for padding.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    checks = {
        "counted": "the loss counts padding",
        "other-rows": "labels end where the inputs of other rows end",
    }
    causes = {
        "counted": "loss, ignore_index, -100, targets, mean",
        "other-rows": "labels, shuffled, order, align, collate, padding",
    }

    def __init__(
        self, share: float = 0.05, looks: int = 8, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.share = share
        self.looks = looks
        self._forget()

    def _forget(self) -> None:
        self._looked = 0
        self._padding: padded.Padding | None = None
        self._seen = False
        self._counted = ""

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        trials.prepare(pl_module, trainer, self.skip)
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        loss_calls.CALLS.leave(self._called)
        if not hasattr(pl_module, "training_step"):
            loss_calls.CALLS.observe(self._called)

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._looked >= self.looks:
            return
        self._looked += 1
        seen = batch_view.look(batch)
        padding = padded.find(seen, self.share)
        if padding is None or not padded.is_known(pl_module, seen, padding):
            return
        by_calls = not hasattr(pl_module, "training_step")
        self._looked = self._looked if by_calls else self.looks
        if (lengths := padded.of_other_rows(seen, padding)) is not None:
            self.looked += 1
            inputs, labels = (f"{', '.join(map(str, of[:4]))}, ..." for of in lengths)
            self.alarm(
                "other-rows",
                f"the labels of {self.batch_name(batch_idx)} belong to other rows: they end after {labels} positions "
                f"and the inputs after {inputs}, which are the same lengths in another order",
                "Keep each sample's inputs and labels together: sort, shuffle or select the samples before you "
                "separate them, as in collate_fn.",
            )
        if by_calls:
            self._padding = padding
            return
        # Not a shared copy: in training mode a step changes running statistics.
        trial = trials.own(pl_module, trainer, self.skip)
        if trial is None:
            return
        watch = _Losses(padding.places)
        with trial.running(), watch:
            try:
                trial.step(batch, batch_idx)
            except Exception as error:
                self.skip(
                    f"the training step of a copy of the module failed: {type(error).__name__}: {error}; a step that "
                    "needs only its batch, self.optimizers() and self.trainer can be tried"
                )
                return
        self._say(padding, watch.counted, batch_idx)

    def _called(self, call: loss_calls.LossCall) -> None:
        if self._padding is None or call.name not in _LOSSES or not call.is_trained_on:
            return
        try:
            with torch.no_grad():
                counts = _counts(call.function, self._padding.places, **call.arguments)
            self._seen = True
            self._counted = call.name if counts else self._counted
        except Exception as error:
            self._mistake(error)

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        padding, self._padding = self._padding, None
        # In the first batch the loop has looked up the function before the guard could replace it.
        if padding is not None and self._seen:
            self._looked = self.looks
            self._say(padding, self._counted, trainer.batch_idx or 0)

    def _say(self, padding: padded.Padding, counted: str, batch_idx: int) -> None:
        self.looked += 1
        if counted:
            share = float(padding.places.float().mean())
            self.alarm(
                "counted",
                f"the loss of {self.batch_name(batch_idx)} counts padding: {share:.0%} of its positions hold the token "
                f"{padding.token}, which fills up the sequences, and {counted} counts them like words",
                f"Pass ignore_index={padding.token} to the loss, or set the padding's targets to -100, so that it is "
                "the mean over real tokens.",
            )

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batch_view.forget()

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        loss_calls.CALLS.leave(self._called)

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        loss_calls.CALLS.leave(self._called)


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

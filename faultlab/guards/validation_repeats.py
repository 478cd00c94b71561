"""The guard that checks that each validation has the same inputs as the one before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view
from faultlab.guards.support.training_view import TrainingView


class ValidationRepeats(Guard):
    """A guard against validation data that are drawn anew each time, such as by the augmentation of the training.

    The first batch of each validation is compared with that of the one before. The inputs of most samples have to be
    others while all labels are the same, in a loader that keeps its order. Without labels, random inputs may be meant,
    and so they may if the labels are what is restored from them, such as images without their noise.

    Args:
        share: The share of samples whose inputs have to differ.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"redrawn": "the inputs of validation samples differ from one validation to the next"}
    causes = {
        "redrawn": "validation, augmentation, augmented, transform, random, differ, noise, samples, evaluation",
    }

    def __init__(self, share: float = 0.5, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.share = share
        self._before: tuple[list[float], list[float]] | None = None

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._before = None

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx or dataloader_idx or batch is None or not trainer.is_fitting or not _in_order(trainer):
            return
        seen = batch_view.look(batch)
        if seen.inputs is None or seen.labels is None or not seen.inputs.is_floating_point():
            return
        if seen.labels.is_floating_point() and seen.labels.numel() >= seen.inputs.numel():
            return
        now = [*seen.input_keys], [*seen.label_keys]
        before, self._before = self._before, now
        if before is None or len(now[0]) < 8 or len(set(now[1])) < 2 or before[1] != now[1]:
            return
        self.looked += 1
        other = sum(one != another for one, another in zip(*(keys[0] for keys in (before, now))))
        if other > self.share * len(now[0]):
            self.alarm(
                "redrawn",
                f"{other} of {len(now[0])} samples of the first validation batch have other inputs than in the "
                "validation before, and the same labels: validation data are random, so that metrics are those of "
                "augmented data",
                "Apply the random augmentation to the training set only, and leave this check out if it is meant.",
            )

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        batch_view.forget()


def _in_order(trainer: TrainingView) -> bool:
    loaders = trainer.val_dataloaders
    loader = loaders[0] if isinstance(loaders, (list, tuple)) and len(loaders) == 1 else loaders
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return False
    return type(loader.sampler) is SequentialSampler

"""The guard that checks that a metric object accumulates the batches of one stage only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.training_view import TrainingView


class MetricsSeparate(Guard):
    """A guard against a torchmetrics object that mixes training and validation.

    It raises an alarm only if the accumulated value is used: if the object itself is logged for a whole epoch, or is
    computed at the end of validation without a reset between the stages. It looks before and after validation, not at
    training steps.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "metrics"
    checks = {
        "validation-mixed": "a validation metric contains batches of training",
        "training-mixed": "a training metric contains batches of validation, or loses its own to them",
    }
    causes = {
        "validation-mixed": "metric, mixed, training, validation",
        "training-mixed": "metric, mixed, replaced, updated, logged, training, validation",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._forget()

    def _forget(self) -> None:
        self._metrics: list[tuple[str, Any]] = []
        self._left: list[int] = []
        self._trained: list[bool] = []
        self._carried: list[int] | None = None
        self._gathered: list[int] = []

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_metrics": [],
            "_left": [],
            "_trained": [],
            "_carried": None,
            "_gathered": [],
        }

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._metrics = [(name, part) for name, part in pl_module.named_modules() if is_metric(part)]
        self._left = self._counts()

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._trained = [now > before for now, before in zip(self._counts(), self._left)]
        self._carried = None

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._metrics and self._carried is None:
            # By now every metric that starts again has been reset.
            self._carried = self._counts()

    def on_validation_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._gathered = self._counts()
        if trainer.sanity_checking or self._carried is None:
            return
        in_training, in_validation = trainer.epoch_metrics()
        for place, (name, metric) in enumerate(self._metrics):
            carried, gathered = self._carried[place], self._gathered[place]
            if not self._trained[place] or carried == gathered:
                continue
            if carried and id(metric) in in_validation:
                self._say_validation(name, metric, carried)
            if id(metric) in in_training:
                self.alarm(
                    "training-mixed",
                    f"the metric {name} ({type(metric).__name__}) is logged for the epoch in training and updated in "
                    "validation: its training value is mixed with, or replaced by, validation",
                    "Use a separate metric object for each stage, such as train_metric and val_metric.",
                )

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        counts, carried = self._counts(), self._carried
        if carried is not None and not trainer.sanity_checking:
            for place, (name, metric) in enumerate(self._metrics):
                used = getattr(metric, "_computed", None) is not None and counts[place] == self._gathered[place]
                if self._trained[place] and used and 0 < carried[place] < counts[place]:
                    self._say_validation(name, metric, carried[place])
        self._left = counts

    def _say_validation(self, name: str, metric: Any, carried: int) -> None:
        self.alarm(
            "validation-mixed",
            f"the metric {name} ({type(metric).__name__}) contains {carried} batches of training when validation "
            "starts, and its validation value is computed with them",
            "Use a separate metric object for each stage, such as train_metric and val_metric.",
        )

    def _counts(self) -> list[int]:
        return [int(getattr(metric, "_update_count", 0)) for _, metric in self._metrics]


def is_metric(part: Any) -> bool:
    """Return whether a part of a module is a metric of torchmetrics."""
    # Without importing torchmetrics, for trainings that don't use it.
    return any(cls.__module__ == "torchmetrics.metric" and cls.__name__ == "Metric" for cls in type(part).__mro__)

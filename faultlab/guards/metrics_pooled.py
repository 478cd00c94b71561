"""The guard that checks that metrics of a validation are not means of the values of its batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, ClassVar

import torch

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.metrics_separate import is_metric
from faultlab.guards.support import trainer_state
from faultlab.guards.support.training_view import TrainingView


class MetricsPooled(Guard):
    """A guard against logging the value that a torchmetrics object returns for each batch, instead of the object.

    Lightning then logs the mean of the batches' values, which is not the metric of all samples for precision, recall,
    F1, AUROC, macro averages and the like. The guard updates a copy of each metric with what it is called with in the
    first validation, and compares. Trainings of several ranks are not judged, nor batches of one.

    Args:
        tolerance: The allowed difference of a metric, as a share of its value.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "metrics"
    checks = {"mean-of-batches": "a logged metric is the mean of its values for the batches, not that of all samples"}
    causes = {"mean-of-batches": "metric, mean, average, batches, epoch, logged, accumulated"}

    def __init__(self, tolerance: float = 5e-3, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.tolerance = tolerance
        self._forget()

    def _forget(self) -> None:
        self._done = False
        self._pools: list[_Pool] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_pools": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._done or self.ears or trainer.sanity_checking or trainer.world_size > 1 or not trainer.is_fitting:
            return
        if trainer.callback_metrics is None:
            self._done = True
            return
        for name, part in pl_module.named_modules():
            if is_metric(part):
                self._pools.append(pool := _Pool(name, part))
                self.ears.before(part, pool.called)
                self.ears.after(part, pool.returned)
        self._done = not self._pools

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self.ears or trainer.sanity_checking:
            return
        self.ears.rest()
        self._done = True
        pools, self._pools = self._pools, []
        logged = trainer_state.metrics(trainer)
        for pool in pools:
            # The mean of the values of single samples is a measure of its own, such as that of the sharpness of images.
            if len(pool.values) < 2 or max(pool.sizes) < 2:
                continue
            self.looked += 1
            whole = trainer_state.number(pool.copy.compute())
            for name, value in logged.items():
                if whole is not None and pool.has_mean(value) and not _alike(value, whole, self.tolerance):
                    self.alarm(
                        "mean-of-batches",
                        f"{name} is {value:.4g}, the mean of what {pool.name} ({type(pool.copy).__name__}) returned "
                        f"for {len(pool.values)} batches, but over all of their samples the metric is {whole:.4g}",
                        f"Log the metric object itself, self.log({name!r}, self.{pool.name}), or compute() it once "
                        "at the end of the epoch.",
                    )


class _Pool:
    """A copy of a metric that gets what the metric is called with, and the values that the calls return."""

    def __init__(self, name: str, metric: Any) -> None:
        self.name = name
        self.copy = copy.deepcopy(metric)
        self.copy.reset()
        self.values: list[float] = []
        self.sizes: list[int] = []
        self._given: Any = None

    def called(self, metric: Any, args: Any, kwargs: Any) -> None:
        self._given = args, kwargs

    def returned(self, metric: Any, args: Any, output: Any) -> None:
        given, self._given = self._given, None
        value = trainer_state.number(output)
        if given is None or value is None:
            return
        args, kwargs = given
        with torch.no_grad():
            self.copy.update(*args, **kwargs)
        self.values.append(value)
        tensors = trainer_state.tensors([*args, *kwargs.values()])
        self.sizes.append(len(tensors[0]) if tensors and tensors[0].dim() else 1)

    def has_mean(self, value: float) -> bool:
        """Return whether a value is the mean of those of the calls, weighted by their samples or not."""
        means = (
            sum(v * n for v, n in zip(self.values, self.sizes)) / sum(self.sizes),
            sum(self.values) / len(self.values),
        )
        return any(_alike(value, mean, 1e-5) for mean in means)


def _alike(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-6)

"""The guard that checks that logged metrics are present, finite, and change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import trainer_state
from faultlab.guards.support.parameter_samples import optimizers_of, searches
from faultlab.guards.support.training_view import TrainingView


class LoggedMetrics(Guard):
    """A guard against metrics that are missing, not finite, or constant after a validation or a training epoch.

    A metric that was logged in two validations in a row has to be logged in the next ones too. Losses and ``metric``
    have to be finite, any other metric only if it once was. A validation loss must not be exactly the same after the
    weights have changed (for two validations under manual optimization), nor may all metrics be the same in three
    validations.

    A decision threshold may be NaN at any time: torchmetrics returns that where no prediction meets the precision or
    recall that was asked for. Metrics of averaged weights, by their names, may be missing, NaN or constant until the
    average begins. A loss may be NaN at first if another one is finite. A training without validation is judged by its
    training metrics.

    Args:
        metric: The metric that the training is judged by. Empty if there is none.
        expected: Other metrics that have to be logged.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "missing": "an expected metric is not logged",
        "vanished": "a metric that was logged before is no longer logged",
        "not-finite": "a metric is NaN or infinite",
        "constant": "a validation metric does not change, though the weights do",
    }
    causes = {
        "missing": "metric, missing, logged, validation",
        "vanished": "metric, missing, logged, validation, early",
        "not-finite": "metric, not finite, nan, log of, zero, loss",
        "constant": "metric, constant, weights change, bit, validation",
    }

    def __init__(
        self, metric: str = "", expected: Sequence[str] = (), *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.metric = metric
        self.expected = tuple(expected)
        self._forget()

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        return {"metric": monitor}

    def _forget(self) -> None:
        self._objects: dict[str, Any] = {}
        self._times: dict[str, int] = {}
        self._values: dict[str, float] = {}
        self._was_finite: set[str] = set()
        self._moved: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._steps = -1
        self._same = 0
        self._validated = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_objects": {}}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._can_look(trainer):
            return
        found = trainer_state.metrics(trainer)
        self._judge_finite(found, "training")
        if not self._validated:
            # Training metrics may be logged only at the end of the epoch, after this hook.
            wanted = [name for name in self.expected if name not in found and not trainer_state.is_average(name)]
            if self._times and wanted:
                self._say_missing(wanted, found, "training")

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._can_look(trainer):
            return
        found = trainer_state.metrics(trainer)
        self._judge_finite(found, "training", last=True)
        wanted = [name for name in (self.metric, *self.expected) if name and name not in found]
        if wanted and trainer.global_step and not trainer.should_stop:
            self._say_missing(wanted, found, "training")

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._objects = dict(trainer.callback_metrics or {})

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._can_look(trainer):
            return
        logged = dict(trainer.callback_metrics or {})
        found = trainer_state.metrics(trainer)
        # Lightning keeps the values of earlier epochs; a value that was logged since validation started is another
        # object.
        fresh = {name for name in found if logged.get(name) is not self._objects.get(name)}
        steps, sanity = trainer.global_step, bool(trainer.sanity_checking)
        validation = {name for name in fresh if "train" not in name.lower()}
        self._judge_finite(found, "validation")
        if steps > self._steps >= 0:
            # Of networks trained alternately, the validated one may have waited for an epoch.
            patience = 1 if trainer_state.learns(pl_module) else 2
            optimizers = optimizers_of(trainer)
            # A line search that has converged leaves the weights unchanged.
            at_rest = self._moved if optimizers and all(map(searches, optimizers)) else ()
            judged = {name: found[name] for name in validation if name not in at_rest}
            self._judge_constant(judged, steps - self._steps, patience)
        gone = [name for name, times in self._times.items() if times >= 2 and name not in fresh]
        if not sanity:
            self._validated = True
            self._times = {name: self._times.get(name, 0) + 1 for name in validation}
        self._values = {name: found[name] for name in validation}
        self._steps = steps
        self._objects = {}
        if sanity:
            return
        named = [name for name in (self.metric, *self.expected) if name and not trainer_state.is_average(name)]
        wanted = [name for name in named if name not in found]
        if wanted:
            self._say_missing(wanted, found, "validation")
        if gone:
            self.alarm(
                "vanished",
                f"{trainer_state.names(gone)} was logged in earlier validations, but is missing in this one",
                "Check whether validation ends early, or whether the metric is logged only under a condition.",
            )

    def _can_look(self, trainer: TrainingView) -> bool:
        if trainer.callback_metrics is None:
            self.skip("the loop shows no metrics")
            return False
        self.looked += 1
        return True

    def _say_missing(self, wanted: list[str], found: dict[str, float], where: str) -> None:
        others = trainer_state.names(sorted(found)) or "nothing"
        self.alarm(
            "missing",
            f"the metric {trainer_state.names(wanted)} is missing after {where}: it is not among the logged metrics "
            f"({others})",
            f"Check the name {self.terms.either('in self.log', 'of the metric')}, and that validation runs.",
        )

    def _waits(self, name: str, found: dict[str, float], last: bool) -> bool:
        """Return whether a metric that is NaN may not have started yet, or has no value this time."""
        if not math.isnan(found[name]):
            return False
        if "thresh" in name.lower() and name != self.metric:
            return True
        if name in self._was_finite:
            return False
        if trainer_state.is_average(name):
            return True
        others = [other for other in found if "loss" in other.lower() and _stage(other) == _stage(name)]
        return not last and name != self.metric and any(math.isfinite(found[other]) for other in others)

    def _judge_finite(self, found: dict[str, float], where: str, last: bool = False) -> None:
        bad = [n for n, value in found.items() if not (math.isfinite(value) or self._waits(n, found, last))]
        self._was_finite.update(name for name, value in found.items() if math.isfinite(value))
        whole = len(bad) == len(found)
        grave = [n for n in bad if n == self.metric or "loss" in n.lower() or n in self._was_finite or whole]
        if grave:
            what = "NaN" if math.isnan(found[grave[0]]) else "infinite"
            self.alarm(
                "not-finite",
                f"the metric {trainer_state.names(grave)} is {what} and thus not finite after {where}",
                "Check whether the loss is not finite either, or whether the metric divides by zero (0 / 0) or takes "
                "the log of zero.",
            )

    def _judge_constant(self, found: dict[str, float], steps: int, patience: int) -> None:
        same = [name for name, value in found.items() if self._values.get(name) == value and math.isfinite(value)]
        self._moved.update(name for name in found if name not in same and name in self._values)
        same = [name for name in same if name in self._moved or not trainer_state.is_average(name)]
        self._repeats = {name: self._repeats.get(name, 0) + 1 for name in same}
        # A loss of zero can't fall further.
        done = [name for name in same if "loss" in name.lower() and found[name] == 0]
        # A share of a few samples may well repeat, a mean of floats does not.
        self._same = self._same + 1 if same and len(same) == len(found) else 0
        losses = [name for name in same if "loss" in name.lower() and self._repeats[name] >= patience]
        stuck = [name for name in losses if name not in done] or (same if self._same >= 2 and not done else [])
        if stuck:
            self.alarm(
                "constant",
                f"the metric {trainer_state.names(stuck)} is constant: it is {found[stuck[0]]:.6g}, exactly as in the "
                f"last validation {steps} steps ago",
                "Check that the weights change, and that the metric is computed in each validation.",
            )


def _stage(name: str) -> bool:
    """Return whether a metric is one of validation, by its name."""
    return "val" in name.lower()

"""The guard that checks that monitored metrics are logged and ranked in the right order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import trainer_state
from faultlab.guards.support.better_side import better_side
from faultlab.guards.support.training_view import TrainingView


class MonitorsExist(Guard):
    """A guard against callbacks and schedules that monitor a missing metric or rank it in the wrong order.

    Which order is right follows from ``mode`` for ``metric``, and for other metrics from the words in their names: a
    loss or an error has to fall, an accuracy to rise. Names with neither or both kinds of words are not judged.

    Args:
        metric: The metric whose better side is declared. Empty if there is none.
        mode: "min" or "max", whichever is better for ``metric``.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "wrong-mode": "a monitored metric is ranked in the wrong order",
        "not-logged": "a monitored metric is not logged",
    }
    causes = {
        "wrong-mode": "monitor, mode, best, worst, min, max",
        "not-logged": "monitor, not available, logged",
    }

    def __init__(
        self, metric: str = "", mode: str = "", *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.metric = metric
        self.mode = mode

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        return {"metric": monitor, "mode": mode}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._judge_modes(trainer)

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._judge_modes(trainer)

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            # Metrics of averaged weights may start late.
            self._judge_names(trainer, lambda name: "val" in name.lower() and not trainer_state.is_average(name))

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.global_step and not trainer.fast_dev_run:
            self._judge_names(trainer, lambda name: True)

    def _judge_modes(self, trainer: TrainingView) -> None:
        for owner, name, mode in _monitors(trainer):
            better = (self.mode if name == self.metric else "") or better_side(name)
            if better and mode in ("min", "max") and mode != better:
                self.alarm(
                    "wrong-mode",
                    f"{owner} monitors {name} with mode={mode!r} and takes the worst for the best: {name} is better "
                    f"the {'lower' if better == 'min' else 'higher'} it is",
                    f"Construct it with mode={better!r}, which is not inferred from the name.",
                )

    def _judge_names(self, trainer: TrainingView, concerned: Any) -> None:
        found = trainer.callback_metrics
        if found is None:
            self.skip("the loop shows no metrics")
            return
        self.looked += 1
        for owner, name, _ in _monitors(trainer):
            if concerned(name) and name not in found:
                logged = trainer_state.names(sorted(map(str, found))) or "nothing"
                self.alarm(
                    "not-logged",
                    f"{owner} monitors {name}, which is not available: it is not among the logged metrics ({logged})",
                    "Log it under exactly this name, in a stage that runs.",
                )


def _monitors(trainer: TrainingView) -> list[tuple[str, str, str]]:
    """Return the objects that monitor a metric, with its name and their mode."""
    found = []
    for callback in trainer.callbacks:
        name, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if isinstance(name, str) and mode in ("min", "max"):
            found.append((type(callback).__name__, name, str(mode)))
    for config in trainer.lr_scheduler_configs or []:
        scheduler, name = getattr(config, "scheduler", None), getattr(config, "monitor", None)
        if isinstance(name, str) and getattr(config, "reduce_on_plateau", False):
            found.append((type(scheduler).__name__, name, str(getattr(scheduler, "mode", ""))))
    return found

"""What callbacks and schedulers monitor is logged, and they know which side of it is the better one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import trainer_state
from faultlab.guards.support.better_side import better_side
from faultlab.guards.support.training_view import TrainingView


class MonitorsExist(Guard):
    """Detects a callback or a schedule that monitors what nobody logs, or takes the worse side for the better.

    ``metric`` and ``mode`` say it for one metric. For others it goes by the words in the name: a loss or an error is to
    fall, an accuracy to rise; of a name that has no such word, or both kinds, it thinks nothing.
    """

    checks = {
        "wrong-mode": "a monitored metric is ranked from the wrong side",
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
            # What is of averaged weights may begin late.
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
                    f"{owner} monitors {name} with mode={mode!r}, and takes the worst for the best: {name} is better "
                    f"the {'lower' if better == 'min' else 'higher'} it is",
                    f"Construct it with mode={better!r}; nobody infers it from the name.",
                )

    def _judge_names(self, trainer: TrainingView, concerned: Any) -> None:
        found = trainer.callback_metrics
        if found is None:
            self.skip("the metrics are not known")
            return
        self.looked += 1
        for owner, name, _ in _monitors(trainer):
            if concerned(name) and name not in found:
                logged = trainer_state.names(sorted(map(str, found))) or "nothing"
                self.alarm(
                    "not-logged",
                    f"{owner} monitors {name}, which is not available: nobody has logged it, but {logged}",
                    "Is it logged under this very name, in a stage that runs?",
                )


def _monitors(trainer: TrainingView) -> list[tuple[str, str, str]]:
    """Who monitors what in which mode."""
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

"""The guard that checks that the model can overfit a single batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import trainer_state, trials
from faultlab.guards.support.overfitting import overfit
from faultlab.guards.support.training_view import TrainingView


class OverfitsBatch(Guard):
    """A guard against a model that can't learn one batch. It trains a copy of the model on the first batch.

    The copy is trained with Adam before the first step. The training itself is not affected, but `all` leaves this
    guard out, since it costs as many steps.

    The guard skips manual optimization, resumed trainings, modules that can't be copied, copies whose step fails, and
    losses that are nearly zero or not finite.

    Args:
        steps: Steps of Adam on the batch.
        rate: The learning rate of Adam.
        least: The required fall of the copy's loss, as a share.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    optional: ClassVar[bool] = True
    checks = {"does-not-learn": "a copy of the model can't learn the first batch"}
    causes = {
        "does-not-learn": "loss, output, gradient, dead, constant, detached, layer",
    }

    def __init__(
        self,
        steps: int = 50,
        rate: float = 0.01,
        least: float = 0.2,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.steps = steps
        self.rate = rate
        self.least = least
        self._due = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        trials.prepare(pl_module, trainer, self.skip)

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._due = trainer.global_step == 0 and trainer_state.learns(pl_module)
        if not trainer_state.learns(pl_module):
            self.skip("the module optimizes by hand, and its losses are unknown: train it with overfit_batches=1")

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._due:
            return
        self._due = False
        trial = trials.own(pl_module, trainer, self.skip)
        if trial is None:
            return
        try:
            done = overfit(trial, batch, batch_idx, self.steps, self.rate)
        except Exception as error:
            self.skip(f"the training of the copy failed: {type(error).__name__}: {error}")
            return
        self.looked += 1
        if not done.comparable:
            return
        fell, began, ends = done.fell(self.least)
        if not fell:
            self.alarm(
                "does-not-learn",
                f"a copy of the model can't learn a single batch: its loss was {began:.4g} and is {ends:.4g} after "
                f"{self.steps} steps on that batch alone",
                "Check whether the output depends on the inputs, whether every layer gets a gradient (dead, constant "
                "or detached ones do not), and whether the loss compares the right values.",
            )

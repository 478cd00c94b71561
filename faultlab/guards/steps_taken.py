"""The optimizer steps that the training should have taken were taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard


class StepsTaken(Guard):
    """Notices a batch after which no backward pass ran or no optimizer was stepped, though it was time for one.

    Lightning skips both for a step that returns None, and goes on counting ``global_step``. ``patience`` batches in a
    row are let pass, for modules that skip a batch on purpose.
    """

    checks = {
        "no-backward": "a training batch ended and no loss was propagated backwards",
        "no-step": "as many batches as are accumulated ended and no optimizer was stepped",
    }

    def __init__(self, patience: int = 0, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.patience = patience
        self._backwards = self._steps = 0
        self._without_backward = self._without_step = 0

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self._backwards += 1

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._steps += 1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._without_backward = 0 if self._backwards else self._without_backward + 1
        self._without_step = 0 if self._steps else self._without_step + 1
        self._backwards = self._steps = 0
        if self._without_backward > self.patience:
            self.alarm(
                "no-backward",
                f"batch {batch_idx} ended and no loss was propagated backwards, so nothing was learnt from it",
                "Does training_step return its loss (or call manual_backward) on every path?",
            )
        if self._without_step > self.patience + trainer.accumulate_grad_batches - 1:
            self.alarm(
                "no-step",
                f"batch {batch_idx} ended and no optimizer was stepped in the last {self._without_step} batches",
                "Is there an optimizer, and does optimizer_step (or training_step, under manual optimisation) step it?",
            )

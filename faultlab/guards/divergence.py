"""The loss does not run away."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, trainer_state
from faultlab.guards.support.training_view import TrainingView


class Divergence(Guard):
    """Detects a loss far above what it was: ``factor`` times its own median of the last ``window`` steps, and above all
    that it was among them, in ``patience`` steps in a row.

    It keeps quiet in the first ``warmup`` steps, under manual optimisation, and where the loss changes sign or is about
    zero, so that multiples of it mean nothing. On a GPU it looks at every 16th step only, since looking waits for it.
    """

    checks = {"runs-away": "the loss is many times what it was"}
    causes = {
        "runs-away": "diverges, explodes, too large, learning rate, loss, gradient, label, weights, changed, "
        "batch, step, training",
    }

    def __init__(
        self,
        factor: float = 10.0,
        window: int = 64,
        patience: int = 3,
        warmup: int = 8,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.factor = factor
        self.window = window
        self.patience = patience
        self.warmup = warmup
        self._forget()

    def _forget(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []
        self._far = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = trainer_state.loss_of(outputs) if pace.due(trainer) and trainer_state.learns(pl_module) else None
        if loss is None:
            return
        value = loss.item()
        if not math.isfinite(value):
            return
        if len(self._sorted) >= self.warmup and self._is_far(value):
            self._far += 1
            if self._far >= self.patience:
                median = self._sorted[len(self._sorted) // 2]
                self.alarm(
                    "runs-away",
                    f"the training loss diverges: {value:.4g} at batch {batch_idx}, and far above its median of "
                    f"{median:.4g} for {self._far} steps",
                    "Is the learning rate too large, do gradients explode, or did weights, inputs or labels change?",
                )
            return
        self._far = 0
        self._order.append(value)
        bisect.insort(self._sorted, value)
        if len(self._order) > self.window:
            self._sorted.pop(bisect.bisect_left(self._sorted, self._order.popleft()))

    def _is_far(self, value: float) -> bool:
        low, median, high = self._sorted[0], self._sorted[len(self._sorted) // 2], self._sorted[-1]
        return low > 0 and value > high and value > self.factor * median

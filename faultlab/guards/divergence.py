"""The guard that checks that the loss does not diverge."""

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
    """A guard against a loss far above its own recent values.

    The alarm is raised if the loss is ``factor`` times the median of the last steps, and above all of them, for several
    steps in a row. The guard skips manual optimization and losses that change sign or are close to zero, for which
    multiples mean nothing. It reads the loss in each of the first 64 steps, and later ever more rarely.

    Args:
        factor: How many times the median a loss has to be.
        window: Steps that the median is taken over.
        patience: Steps in a row with such a loss that raise the alarm.
        warmup: Steps at the start that are not judged.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"runs-away": "the loss is many times its recent values"}
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

    @pace.sparse
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
                    f"the training loss diverges: it is {value:.4g} at {self.batch_name(batch_idx)}, and has been far "
                    f"above its median of {median:.4g} for {self._far} steps",
                    "Check whether the learning rate is too large, gradients explode, or weights, inputs or labels "
                    "were changed.",
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

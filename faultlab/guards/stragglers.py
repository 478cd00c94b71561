"""The guard that checks that no rank of a training is much slower than the others."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.exchange import Exchange, meets
from faultlab.guards.support.training_view import TrainingView

_POINTS = 2
_UNIT = 1e-6
_SETTLED = 3
_EAGER = 24
_LEAST = 0.02


class Stragglers(Guard):
    """A guard against a rank that lets the others wait in every step: a slow device, disk or machine.

    In some batches, the ranks wait for each other when they have their batch, and again before the backward pass. The
    time that each waits shows by how much it comes earlier than the last. Within the backward pass, in which ranks wait
    for the gradients of others, each notes when its own are complete. The alarm is raised if the same rank is the last
    in several such batches in a row, and takes longer than the next one by more than a factor of the step's time. What
    a rank loses in the network, in backward passes on an accelerator or with sharded parameters, or in those of a loop
    under `watch`, is not seen. In a training of one process it does nothing.

    Args:
        factor: How many times as long as without the straggler a step takes. More than 1.
        every: The number of training batches from one measurement to the next, after the first ones.
        times: How many measurements in a row have to show the same rank.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.

    Raises:
        ValueError: ``factor`` is not more than 1, or ``every`` or ``times`` is less than 1.
    """

    checks = {"slow": "a rank is much slower than the others"}
    causes = {"slow": "rank, slow, straggler, waits, seconds"}

    def __init__(
        self,
        factor: float = 1.5,
        every: int = 32,
        times: int = 5,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        if factor <= 1 or every < 1 or times < 1:
            raise ValueError(
                f"invalid factor={factor}, every={every}, times={times}: expected more than 1, and at least 1"
            )
        self.factor = factor
        self.every = every
        self.times = times
        self.exchange = Exchange()
        self._hooks: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        self._batches = 0
        self._measures = False
        self._points = 0
        self._waited: list[float] = []
        self._stop_listening()
        self._backward = self._complete = 0.0
        self._begun = 0.0
        self._steps: deque[float] = deque(maxlen=8)
        self._late: deque[tuple[int, float, float]] = deque(maxlen=self.times)
        self._said = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._begin()
        self.dormant = trainer.world_size == 1

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        # The time since the last batch is not that of a step, and validation may have ended at other times.
        self._begun = 0.0

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._begun = 0.0

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not meets(trainer):
            return
        now = time.perf_counter()
        follows = self._begun > 0
        if follows and self._batches > _SETTLED:
            self._steps.append(now - self._begun)
        self._begun = now
        self._batches += 1
        due = self._batches <= _EAGER or self._batches % self.every == 0
        self._measures = due and follows and self._batches > _SETTLED
        self._points, self._waited, self._backward = 0, [], 0.0
        self._stop_listening()
        if self._measures:
            self._wait(pl_module)
            self._waited[0] += trainer.waited

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        # In a batch of several backward passes before the first one only.
        if self._measures and self._points == 1:
            self._wait(pl_module)
            if not trainer.is_sharded:
                self._listen(pl_module)

    def on_after_backward(self, trainer: TrainingView, pl_module: Any) -> None:
        if self._hooks:
            self._backward = self._complete - self._backward
            self._stop_listening()

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._measures:
            return
        self._measures = False
        assert self.exchange is not None
        step = statistics.median(self._steps) if self._steps else 0.0
        waited = [*self._waited, *[0.0] * (_POINTS - len(self._waited))]

        def own() -> list[int]:
            return [round(seconds / _UNIT) for seconds in (*waited, self._backward, step)]

        if (rows := self.exchange.gather(self, pl_module, own, _POINTS + 2)) is not None:
            self.looked += 1
            self._judge([[number * _UNIT for number in row] for row in rows])

    def _wait(self, module: Any) -> None:
        assert self.exchange is not None
        self._points += 1
        begun = time.perf_counter()
        self.exchange.gather(self, module, list, 0)
        self._waited.append(time.perf_counter() - begun)

    def _listen(self, module: Any) -> None:
        """Note when the last gradient of this rank is complete, which it is before the ranks have averaged it."""
        self._backward = self._complete = time.perf_counter()
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad and parameter.is_leaf]
        self._hooks = [parameter.register_post_accumulate_grad_hook(self._note_complete) for parameter in learning]

    def _note_complete(self, parameter: Any) -> None:
        self._complete = time.perf_counter()

    def _stop_listening(self) -> None:
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        self._stop_listening()

    def _judge(self, of_ranks: list[list[float]]) -> None:
        """Note by how much the last rank comes after the one before it, and the time of a step."""
        longest = [max(waits) for waits in zip(*(row[:_POINTS] for row in of_ranks))]
        shortest = min(row[_POINTS] for row in of_ranks)
        late = [sum(most - one for most, one in zip(longest, row)) + row[_POINTS] - shortest for row in of_ranks]
        last = max(range(len(late)), key=late.__getitem__)
        next_one = max(seconds for rank, seconds in enumerate(late) if rank != last)
        self._late.append((last, late[last] - next_one, statistics.median(row[_POINTS + 1] for row in of_ranks)))
        ranks = {rank for rank, _, _ in self._late}
        if self._said or len(self._late) < self.times or len(ranks) > 1:
            return
        loses = all(
            seconds > _LEAST and seconds < step and step > self.factor * (step - seconds)
            for _, seconds, step in self._late
        )
        if loses:
            self._said = True
            seconds, step = (statistics.median(one[place] for one in self._late) for place in (1, 2))
            self.alarm(
                "slow",
                f"rank {last} comes {seconds:.3f} s after the others in each step of {step:.3f} s",
                "Compare its device, its disk and its data with those of the others; `nvidia-smi -q` shows throttling.",
            )

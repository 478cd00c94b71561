"""The guard that checks that updates of weights in half precision are not rounded away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.parameter_samples import flat, optimizers_of, parameters_of, plain
from faultlab.guards.support.trainer_state import number
from faultlab.guards.support.training_view import TrainingView

_HALVES = (torch.bfloat16, torch.float16)
_PER_TENSOR = 64
_LATEST = 1024


class UpdatesKept(Guard):
    """A guard against weights in bfloat16 or float16 that stay the same because updates are smaller than their spacing.

    It compares a sample of 64 values of each such weight before and after steps, where the gradient is not zero. Steps
    of a warm-up or after a decay are not judged, and none after the first thousand, when weights may have converged.
    Optimizers that are not torch's own may round at random or keep the weights in float32, and are not judged.

    Args:
        lost: The share of values that may stay the same.
        looks: Steps whose values are judged together.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"rounded-away": "updates of weights in half precision are rounded away"}
    causes = {
        "rounded-away": "precision, lost, bfloat16, float16, half, update, too small, weights, learning rate",
    }

    def __init__(
        self, lost: float = 0.4, looks: int = 8, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.lost = lost
        self.looks = looks
        self._forget()

    def _forget(self) -> None:
        self._halves: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._before: list[tuple[Tensor, Tensor, Tensor]] = []
        self._rates: dict[int, tuple[list[float], list[float]]] = {}
        self._restart()

    def _restart(self) -> None:
        self._same = self._values = self._judged = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_halves": {}, "_before": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        for optimizer in optimizers_of(trainer):
            halves = [p for p in parameters_of(optimizer) if plain(p) and p.dtype in _HALVES]
            if halves and not type(optimizer).__module__.startswith("torch.optim"):
                self.skip("the optimizer is not torch's own")
                continue
            for parameter in halves:
                if (row := flat(parameter)) is not None:
                    view = row[:: -(-len(row) // _PER_TENSOR)]
                    self._halves.setdefault(id(optimizer), []).append((parameter, view))

    @pace.sparse
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        halves = self._halves.get(id(optimizer))
        if not halves or not pace.due(trainer) or trainer.global_step > _LATEST or not self._is_at_its_rate(optimizer):
            return
        for parameter, view in halves:
            given = parameter.grad
            if given is not None and plain(given) and (row := flat(given)) is not None:
                gradient = row[:: -(-len(row) // _PER_TENSOR)]
                self._before.append((view, view.clone(), gradient.clone()))

    def _is_at_its_rate(self, optimizer: Any) -> bool:
        groups = optimizer.param_groups
        rates = [number(group.get("lr")) or 0.0 for group in groups]
        known = [number(group.get("initial_lr")) or 0.0 for group in groups]
        before, highest = self._rates.get(id(optimizer), (rates, known))
        highest = [max(pair) for pair in zip(highest, rates)]
        self._rates[id(optimizer)] = rates, highest
        if any(rate > 1.001 * last for rate, last in zip(rates, before)):
            # A warm-up, whose highest rate is unknown while it rises.
            self._restart()
            return False
        return all(rate > 0 and rate >= 0.5 * most for rate, most in zip(rates, highest))

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        taken, self._before = self._before, []
        if not taken:
            return
        views, before, gradients = (torch.cat(rows) for rows in zip(*taken))
        wanted = gradients != 0
        if torch.equal(views, before):
            # A step that was skipped, or is none: others judge it.
            return
        self.looked += 1
        self._judged += 1
        self._values += int(wanted.sum())
        self._same += int(((views == before) & wanted).sum())
        if self._judged % self.looks:
            return
        share, self._same, self._values = self._same / max(1, self._values), 0, 0
        if share > self.lost:
            self.alarm(
                "rounded-away",
                f"{share:.0%} of the values with a gradient stayed the same in the last {self.looks} observed steps: "
                f"their updates are smaller than the spacing of {str(views.dtype).removeprefix('torch.')} and rounded "
                "away",
                "Keep the weights in float32 and compute in half precision by autocast (precision='bf16-mixed'), or "
                "use a larger learning rate or an optimizer with stochastic rounding.",
            )

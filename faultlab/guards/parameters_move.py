"""The guard that checks that each step moves the parameters by a plausible amount."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, Weights, local, planned_steps, searches
from faultlab.guards.support.trainer_state import number
from faultlab.guards.support.training_view import TrainingView

_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Lion", "Adagrad")
_FEW = 128


class ParametersMove(Guard):
    """A guard against optimizer steps that leave the parameters unchanged, or move them too little or too far.

    It compares a sample of 64 values of each parameter before and after batches with a step. The size of updates is
    judged only in trainings of a known length.

    Args:
        too_large: The length of a step that is too large, as a share of that of all sampled weights; ten times that if
            these are few.
        negligible: The distance that all planned steps together have to be able to move the weights, as a share of
            their size.
        shortest: The minimum number of planned steps for updates to be judged as negligible.
        settled: Steps that have to be observed for that.
        patience: Steps in a row that may leave the parameters unchanged, if an update may be too small for their
            precision.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "unchanged": "an optimizer was stepped, but no parameter changed",
        "too-large": "one step moved the parameters by as much as their own size",
        "negligible": "all steps of the training together will hardly move the parameters",
    }
    causes = {
        "unchanged": "optimizer step, no parameter changed, update, dropped, lost, precision, copies, gradients, "
        "learning rate, weights",
        "too-large": "too large, update, explode, gradient norm, momentum, learning rate, size, moved, "
        "parameters, optimizer, batch",
        "negligible": "update, too small, learning rate, vanish, gradients, size, weights, training length",
    }

    def __init__(
        self,
        too_large: float = 1.0,
        negligible: float = 3e-3,
        shortest: int = 20,
        settled: int = 3,
        patience: int = 10,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.too_large = too_large
        self.negligible = negligible
        self.shortest = shortest
        self.settled = settled
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._weights: Weights | None = None
        self._before: torch.Tensor | None = None
        self._stepped: list[tuple[Any, list[Any]]] = []
        self._still = 0
        self._looking = False
        self._travelled: list[float] = []

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._stepped.clear()
        looked, self._looking = self._looking, pace.due(trainer)
        if not self._looking:
            return
        if not looked:
            self._before = None
        if batch_idx == 0 or self._weights is None:
            weights = Weights.of(trainer, pl_module, renew=True)
            if weights is not self._weights:
                self._weights, self._before = weights, None
        if self._before is None and self._weights is not None:
            self._before = self._weights.sample.take()[: self._weights.sample.length]

    @pace.sparse
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        # A scheduler sets the next rates before the end of the batch.
        self._stepped.append((optimizer, [number(group.get("lr")) or 0.0 for group in optimizer.param_groups]))

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        weights = self._weights
        if not self._looking or not self._stepped or weights is None:
            return
        before = self._before if weights.jumped is None else weights.jumped
        weights.jumped = None
        now = self._before = weights.at(batch_idx, weights.sample.versions())[0][: weights.sample.length]
        if before is None or len(before) != len(now) or not len(now):
            if not len(now):
                self.skip("no optimizer holds a parameter whose values can be read")
            return
        self.looked += 1
        moved = now - before
        length, size = math.sqrt(torch.dot(moved, moved).item()), math.sqrt(torch.dot(before, before).item())
        if length == 0:
            self._stay(trainer, pl_module, weights)
            return
        self._still = 0
        if length < self.too_large * size and len(self._travelled) >= self.settled:
            return
        ratio = length / size if size else 0.0
        # One step of an optimizer with a closure takes several updates.
        updates = max(int(group.get("max_iter") or 1) for o, _ in self._stepped for group in o.param_groups)
        findings: list[Finding] = []
        # Weights that start at zero have no size to compare an update with, and a few weights may well jump.
        if ratio > self.too_large * updates * (1 if len(before) >= _FEW else 10) and size > 1e-3 * len(before) ** 0.5:
            findings.append(
                (
                    "too-large",
                    f"the step of {self.batch_name(batch_idx)} moved the parameters by {ratio:.3g} times their own "
                    "size: updates explode",
                    "Reduce the learning rate, and look at the gradient norm and at the optimizer's state (moments).",
                )
            )
        if len(self._travelled) < self.settled and math.isfinite(ratio):
            self._travelled.append(ratio * _rate_to_come([optimizer for optimizer, _ in self._stepped]))
            findings += self._plan(trainer)
        self._findings.say(self, findings)

    def _plan(self, trainer: TrainingView) -> list[Finding]:
        steps = planned_steps(trainer)
        if len(self._travelled) < self.settled or not self.shortest <= steps < math.inf:
            return []
        reach = max(self._travelled) * steps
        if reach >= self.negligible or trainer.fast_dev_run:
            return []
        return [
            (
                "negligible",
                f"updates are too small: {steps:.0f} such steps move the weights by {reach:.2%} of their size",
                "Check whether the learning rate is too small for a training of this length, or whether the "
                "gradients vanish.",
            )
        ]

    def _stay(self, trainer: TrainingView, module: Any, weights: Weights) -> None:
        if weights.sample.moved_house():
            self._weights = self._before = None
            return
        expected = max((_expected(optimizer, rates) for optimizer, rates in self._stepped), default=0.0)
        self._still += 1
        # Weights that moved before may have converged, with a line search at any gradient.
        if (
            expected == 0
            or (self._travelled and (expected < 1e-4 or any(searches(optimizer) for optimizer, _ in self._stepped)))
            or (self._still <= self.patience and (expected < 1e-4 or trainer.is_scaled))
        ):
            return
        self._findings.say(
            self,
            [
                (
                    "unchanged",
                    "the optimizer step changed no parameter, though there are gradients and a learning rate: its "
                    "update was dropped",
                    "Check whether the update is undone, lost in the weights' precision, or applied to copies of the "
                    "parameters.",
                )
            ],
        )


def _rate_to_come(optimizers: list[Any]) -> float:
    """Return the growth factor that steps may still have, during a warm-up or while momentum accumulates."""
    factors = [1.0]
    for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
        rate, peak = number(group.get("lr")), max(number(group.get(name)) or 0.0 for name in ("initial_lr", "max_lr"))
        momentum = group.get("momentum")
        gathers = 1 - momentum if isinstance(momentum, float) and 0 <= momentum < 1 else 1.0
        if rate is not None:
            factors.append(max(peak, rate) / rate / gathers if rate else math.inf)
    return max(factors)


def _expected(optimizer: Any, rates: list[float]) -> float:
    """Return roughly how far the step should move the parameters, as a share of their size; 0 without a gradient."""
    found = 0.0
    for group, rate in zip(optimizer.param_groups, rates):
        for parameter in group["params"]:
            gradient, own = local(parameter.grad), local(parameter)
            if gradient is None or not gradient.dtype.is_floating_point or not gradient.numel():
                continue
            highest = float(gradient.detach().abs().max())
            if highest and highest - highest == 0:
                # An adaptive optimizer does not scale up gradients below its epsilon.
                least = group.get("eps") or 0.0
                adaptive = type(optimizer).__name__ in _ADAPTIVE
                pace = min(1.0, highest / least if least else 1.0) if adaptive else highest
                found = max(found, rate * pace / (float(own.detach().abs().max()) or 1.0))
    return found

"""The guard that checks that the optimizers' settings have plausible values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, optimizers_of
from faultlab.guards.support.training_view import TrainingView

_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Lion")
_DECOUPLED = ("AdamW", "SGD", "Lion")


class OptimizerSettings(Guard):
    """A guard against a learning rate, weight decay, epsilon or momentum that can't work.

    Rates are judged for optimizers whose steps are about as long as the rate (Adam and similar ones). If a scheduler
    multiplies the rate by a function, the product is judged. The guard looks when training and when each epoch starts.
    For unknown optimizers it judges only what is invalid for any. A rate of zero is judged by `LearningRate`.

    Args:
        highest_rate: The highest learning rate of Adam and similar optimizers.
        lowest_rate: The learning rate below which such an optimizer learns next to nothing.
        shrinkage: The share of the weights that decay may take at each step, if it is applied to them directly.
        highest_decay: The highest weight decay that is added to the gradients of an adaptive optimizer.
        highest_epsilon: The highest epsilon of an adaptive optimizer.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "rate-impossible": "a learning rate is negative or not finite",
        "rate-huge": "a learning rate is too large for its optimizer",
        "rate-negligible": "a learning rate is too small for its optimizer",
        "decay-huge": "weight decay alone shrinks the weights considerably at every step",
        "epsilon": "an epsilon dominates the sum it is part of, or is zero in the parameters' precision",
        "momentum": "a momentum or beta is 1 or more, or negative",
    }
    causes = {
        "rate-impossible": "learning rate, negative, not finite, diverge, loss",
        "rate-huge": "learning rate, diverge, adam, moves, weights",
        "rate-negligible": "learning rate, negligible",
        "decay-huge": "weight decay, shrink, learning rate, weights",
        "epsilon": "epsilon, eps, precision, float16, float32, underflow, update, too small, vanish, gradient, "
        "not finite, zero, mixed, parameters",
        "momentum": "momentum",
    }

    def __init__(
        self,
        highest_rate: float = 0.3,
        lowest_rate: float = 1e-9,
        shrinkage: float = 0.01,
        highest_decay: float = 2.0,
        highest_epsilon: float = 0.1,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.highest_rate = highest_rate
        self.lowest_rate = lowest_rate
        self.shrinkage = shrinkage
        self.highest_decay = highest_decay
        self.highest_epsilon = highest_epsilon

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.say(self, self._look(trainer))

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._findings.say(self, self._look(trainer))

    def _look(self, trainer: TrainingView) -> list[Finding]:
        if trainer.optimizers is None:
            self.skip("the optimizers are not known")
            return []
        self.looked += 1
        findings: list[Finding] = []
        for optimizer in optimizers_of(trainer):
            kind = type(optimizer).__name__
            scaled = _is_scaled(trainer, optimizer)
            for group in optimizer.param_groups:
                rate = _number(group.get("lr"))
                # A warm-up starts below the rate that it leads to.
                initial = 0.0 if scaled else _number(group.get("initial_lr"))
                findings += self._rate(kind, rate, initial)
                findings += self._decay(kind, max(rate, initial), group)
                findings += self._epsilon(kind, group)
                betas = group.get("betas") if isinstance(group.get("betas"), (tuple, list)) else ()
                momenta = [_number(value) for value in (*betas, group.get("momentum"))]
                if any(value < 0 or value >= 1 for value in momenta):
                    findings.append(
                        ("momentum", f"{kind} has momenta of {momenta}", "Set each to at least 0 and less than 1.")
                    )
        return findings

    def _rate(self, kind: str, rate: float, initial: float) -> list[Finding]:
        if not math.isfinite(rate) or rate < 0:
            return [
                (
                    "rate-impossible",
                    f"the learning rate of {kind} is {rate:g}, " + ("negative" if rate < 0 else "not finite"),
                    "Look at the expression that computes the rate; with a negative one the loss increases until it "
                    "diverges.",
                )
            ]
        highest = max(rate, initial)
        if kind in _ADAPTIVE and highest > self.highest_rate:
            return [
                (
                    "rate-huge",
                    f"the learning rate of {kind} is {highest:g}, and each step moves each weight by about as much: "
                    "it will diverge",
                    "Choose a rate between 1e-5 and 1e-2, as usual for Adam and similar optimizers.",
                )
            ]
        if kind in _ADAPTIVE and 0 < highest < self.lowest_rate:
            return [("rate-negligible", f"the learning rate of {kind} is {highest:g}: negligible", "Increase it.")]
        return []

    def _decay(self, kind: str, rate: float, group: dict[str, Any]) -> list[Finding]:
        decay = _number(group.get("weight_decay"))
        direct = kind in _DECOUPLED or bool(group.get("decoupled_weight_decay"))
        taken = rate * decay
        # If the rate is too large, that is the cause.
        absurd = kind in _ADAPTIVE and rate > self.highest_rate
        if decay <= 0 or absurd or not (taken > self.shrinkage if direct else decay > self.highest_decay):
            return []
        return [
            (
                "decay-huge",
                f"the weight decay of {kind} is {decay:g}, which at a learning rate of {rate:g} shrinks the weights "
                f"by {taken:.1%} per step",
                "Choose a weight decay between 0 and 0.1.",
            )
        ]

    def _epsilon(self, kind: str, group: dict[str, Any]) -> list[Finding]:
        epsilon = group.get("eps")
        if not isinstance(epsilon, float):
            return []
        if epsilon > self.highest_epsilon and kind in _ADAPTIVE:
            return [
                (
                    "epsilon",
                    f"the epsilon (eps) of {kind} is {epsilon:g}, so large that gradients vanish beside it: updates "
                    "are too small",
                    "Set it to about 1e-8, and check whether it is passed as the wrong argument.",
                )
            ]
        kinds = {p.dtype for p in group["params"] if isinstance(p, torch.Tensor) and p.is_floating_point()}
        for dtype in kinds if kind in _ADAPTIVE else ():
            if epsilon < 0 or float(torch.tensor(epsilon, dtype=dtype)) == 0:
                name = str(dtype).removeprefix("torch.")
                return [
                    (
                        "epsilon",
                        f"the epsilon (eps) of {kind} is {epsilon:g}, which is zero in the precision of the "
                        f"parameters, {name}: an underflow, and divisions by it make weights not finite",
                        "Keep the parameters in float32 with precision='16-mixed' or 'bf16-mixed', or increase eps.",
                    )
                ]
        return []


def _is_scaled(trainer: TrainingView, optimizer: Any) -> bool:
    """Return whether the initial rate of an optimizer is only a factor of a function's values."""
    configs = trainer.lr_scheduler_configs or []
    waiting = [config.scheduler for config in configs if getattr(config.scheduler, "optimizer", None) is optimizer]
    while waiting:
        scheduler = waiting.pop()
        if hasattr(scheduler, "lr_lambdas"):
            return True
        waiting += getattr(scheduler, "_schedulers", None) or []
    return False


def _number(value: Any) -> float:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0

"""The optimizers' settings are of a size that can work."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, optimizers_of
from faultlab.guards.support.training_view import TrainingView

_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Lion")
_DECOUPLED = ("AdamW", "SGD", "Lion")


class OptimizerSettings(Guard):
    """Detects a learning rate, weight decay, epsilon or momentum that no training is served by.

    A rate may be ``highest_rate`` at most for the kinds of optimizer whose steps have about the length of the rate
    (Adam and its kin), and is negligible below ``lowest_rate`` there. Weight decay may take ``shrinkage`` of the
    weights a step at most, where it is applied to them directly, and be ``highest_decay`` at most where it goes
    through the gradients of an adaptive optimizer. A rate that a scheduler multiplies by a function is what comes of
    that. It looks when training starts and when an epoch does; of
    optimizers that it doesn't know it judges only what is wrong for any. A rate of zero is left to LearningRate,
    which knows whether it stays so.
    """

    checks = {
        "rate-impossible": "a learning rate is negative or not finite",
        "rate-huge": "a learning rate is absurdly large for its optimizer",
        "rate-negligible": "a learning rate is absurdly small for its optimizer",
        "decay-huge": "weight decay alone shrinks the weights by much at every step",
        "epsilon": "an epsilon drowns what it is added to, or is zero in the parameters' precision",
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
                # A warm-up begins below the rate that it leads to.
                initial = 0.0 if scaled else _number(group.get("initial_lr"))
                findings += self._rate(kind, rate, initial)
                findings += self._decay(kind, max(rate, initial), group)
                findings += self._epsilon(kind, group)
                betas = group.get("betas") if isinstance(group.get("betas"), (tuple, list)) else ()
                momenta = [_number(value) for value in (*betas, group.get("momentum"))]
                if any(value < 0 or value >= 1 for value in momenta):
                    findings.append(
                        ("momentum", f"{kind} has momenta of {momenta}", "Each has to be 0 at least and below 1.")
                    )
        return findings

    def _rate(self, kind: str, rate: float, initial: float) -> list[Finding]:
        if not math.isfinite(rate) or rate < 0:
            return [
                (
                    "rate-impossible",
                    f"the learning rate of {kind} is {rate:g}, " + ("negative" if rate < 0 else "not finite"),
                    "Look at what the rate is worked out from; a negative one climbs the loss, to diverge.",
                )
            ]
        highest = max(rate, initial)
        if kind in _ADAPTIVE and highest > self.highest_rate:
            return [
                (
                    "rate-huge",
                    f"the learning rate of {kind} is {highest:g}, so that each step moves each weight about that "
                    "far: it will diverge",
                    "Rates of Adam and its kin are mostly between 1e-5 and 1e-2.",
                )
            ]
        if kind in _ADAPTIVE and 0 < highest < self.lowest_rate:
            return [("rate-negligible", f"the learning rate of {kind} is {highest:g}: negligible", "Make it larger.")]
        return []

    def _decay(self, kind: str, rate: float, group: dict[str, Any]) -> list[Finding]:
        decay = _number(group.get("weight_decay"))
        direct = kind in _DECOUPLED or bool(group.get("decoupled_weight_decay"))
        taken = rate * decay
        # Where the rate is absurd, it is to blame.
        absurd = kind in _ADAPTIVE and rate > self.highest_rate
        if decay <= 0 or absurd or not (taken > self.shrinkage if direct else decay > self.highest_decay):
            return []
        return [
            (
                "decay-huge",
                f"the weight decay of {kind} is {decay:g}, which at a learning rate of {rate:g} shrinks the weights by "
                f"{taken:.1%} a step",
                "Usual weight decay is between 0 and 0.1.",
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
                    f"the epsilon (eps) of {kind} is {epsilon:g}, next to which gradients vanish: updates too small",
                    "The usual one is 1e-8. Is it passed in the wrong place?",
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
                        f"parameters, {name}: an underflow, and weights are not finite where it is divided by",
                        "Keep the parameters in float32 with precision='16-mixed' or 'bf16-mixed', or set eps.",
                    )
                ]
        return []


def _is_scaled(trainer: TrainingView, optimizer: Any) -> bool:
    """Whether the first rate of an optimizer is only what a function's values are multiplied by."""
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

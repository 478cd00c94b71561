"""The guard that checks that the learning rate follows its scheduler."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, automatic, optimizers_of, planned_steps
from faultlab.guards.support.trainer_state import number
from faultlab.guards.support.training_view import TrainingView

_PERIODIC = ("Cosine", "Cyclic")

_LEVEL = 8
"""The number of steps from the first one on for which groups have to have one rate."""

_Turns = tuple[int, Any]


class LearningRate(Guard):
    """A guard against schedulers that are not stepped, or too often, and against rates that are zero or collapse.

    A rate collapses if one turn of its scheduler reduces it to ``drop`` of its value, or if it is ``negligible``
    compared with its highest value while the share ``left`` of the training is still to come. If it falls by a factor
    at every step, it also collapses if it will reach a hundred times ``negligible`` by the middle of the rest. This is
    not judged if the length of the training is unknown, for gradual reductions by ReduceLROnPlateau, and for cosines,
    which rise again. Under manual optimization, where the module steps its schedulers, they have two epochs for their
    first turn. Groups that were given different rates must not all have the same one, far above some of theirs, from
    the first step on.

    Args:
        drop: The share of a rate that a single turn has to leave.
        negligible: The share of the highest rate below which a rate is negligible.
        left: The share of the training that has to be left for a collapse.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "zero": "the learning rate is zero in a step, without a warm-up",
        "unstepped": "a scheduler was due and was not stepped",
        "unknown-scheduler": "an optimizer has a scheduler that the Trainer does not know",
        "too-often": "a scheduler with the interval of an epoch is stepped within an epoch",
        "collapses": "the learning rate is negligible while much of the training is still to come",
        "levelled": "parameter groups with rates of their own all have the highest one",
    }
    causes = {
        "zero": "learning rate, zero, scheduler, weights change",
        "unstepped": "scheduler, learning rate, constant, manual, step",
        "unknown-scheduler": "scheduler, learning rate, constant, key, return",
        "too-often": "scheduler, interval, epoch, step, optimizer",
        "collapses": "learning rate, collapses, decay, scheduler, length, interval, epoch, step",
        "levelled": "learning rate, groups, group, same, overwritten, overwrites, scheduler, layers",
    }

    def __init__(
        self,
        drop: float = 0.02,
        negligible: float = 1e-6,
        left: float = 0.25,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.drop = drop
        self.negligible = negligible
        self.left = left
        self._forget()

    def _forget(self) -> None:
        self._steps = self._began = 0
        self._planned = math.inf
        self._epoch = 0
        self._configs: list[Any] = []
        self._optimizers: list[Any] = []
        self._periodic = False
        self._counts: list[Any] = []
        self._latest: list[Any] = []
        self._zeros: dict[int, int] = {}
        self._turns: dict[int, tuple[_Turns, int, _Turns]] = {}
        self._rates: dict[tuple[int, int], _Course] = {}
        self._level: dict[int, float] = {}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._planned = planned_steps(trainer)
        self._began = trainer.global_step
        if trainer.lr_scheduler_configs is None:
            self.skip("the schedules are not known")
            return
        schedulers = [config.scheduler for config in _configs(trainer)]
        known = [getattr(scheduler, "optimizer", None) for scheduler in schedulers]
        # A checkpoint restores the initial rates of a scheduler, and a module may keep and step one itself.
        if self._began or not automatic(pl_module) or _keeps_scheduler(pl_module) or any(o is None for o in known):
            return
        for optimizer in optimizers_of(trainer):
            if "initial_lr" in optimizer.param_groups[0] and not any(optimizer is other for other in known):
                self._findings.say(
                    self,
                    [
                        (
                            "unknown-scheduler",
                            f"a scheduler was created for {type(optimizer).__name__}, but the Trainer does not know "
                            "it: the learning rate will stay constant",
                            'Return it from configure_optimizers under the key "lr_scheduler".',
                        )
                    ],
                )

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._epoch = trainer.current_epoch
            before, self._optimizers = self._optimizers, optimizers_of(trainer)
            self._configs = _configs(trainer)
            if [*map(id, before)] != [*map(id, self._optimizers)]:
                # A loop may continue with another optimizer, at a rate of its own.
                self._rates.clear()
            kinds = [type(config.scheduler).__name__ for config in self._configs]
            self._periodic = any(kind.startswith(_PERIODIC) for kind in kinds)
            # Without a schedule or a length, steps need not be counted.
            self.dormant = not self._configs and self._planned == math.inf
        counts = [_turns_of(config.scheduler) for config in self._configs]
        # A rate that is a tensor is changed in place.
        rates = [number(group.get("lr")) for optimizer in self._optimizers for group in optimizer.param_groups]
        if batch_idx and counts == self._counts and rates == self._latest and not pace.due(trainer):
            return
        self.looked += bool(rates)
        self._counts, self._latest = counts, rates
        findings = self._taken(trainer, automatic(pl_module), batch_idx) if self._configs else []
        for o, optimizer in enumerate(() if self._periodic else self._optimizers):
            for g, group in enumerate(optimizer.param_groups):
                rate = number(group.get("lr"))
                course = self._rates.setdefault((o, g), _Course())
                if rate is not None:
                    findings += self._course(course, rate)
        if findings:
            self._findings.say(self, findings)

    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        self._steps += 1
        if self._steps <= pace.FIRST:
            self._findings.say(self, self._levelled(optimizer))
        for group in optimizer.param_groups:
            if group.get("lr", 1) != 0:
                self._zeros.pop(id(optimizer), None)
                return
        if not any(optimizer is real for real in self._optimizers):
            return
        zeros = self._zeros[id(optimizer)] = self._zeros.get(id(optimizer), 0) + 1
        schedulers = [config.scheduler for config in self._configs]
        own = [s for s in schedulers if getattr(s, "optimizer", optimizer) is optimizer]
        # A warm-up by step may start at zero for one step, but no factor raises a rate that is zero to begin with.
        rises = any(any(getattr(s, "base_lrs", [1])) for s in own) if own else _has_scheduler(optimizer, pl_module)
        # A periodic rate rises from zero by itself.
        if any(type(s).__name__.startswith(_PERIODIC) and any(getattr(s, "base_lrs", [1])) for s in own):
            return
        if zeros > 1 or (automatic(pl_module) and not rises):
            self._findings.say(
                self,
                [
                    (
                        "zero",
                        f"the learning rate of {type(optimizer).__name__} is zero: no weights change",
                        "Look at the expression that computes it, such as a floor division, and at the scheduler.",
                    )
                ],
            )

    def _levelled(self, optimizer: Any) -> list[Finding]:
        """Compare the rates of the groups in the first steps with those that they were given."""
        groups = optimizer.param_groups
        given = [number(group.get("initial_lr")) or 0.0 for group in groups]
        rates = [number(group.get("lr")) or 0.0 for group in groups]
        is_level = len(groups) > 1 and min(given) > 0 and max(given) > 1.5 * min(given) and min(rates) == max(rates)
        # All groups may begin a warm-up at zero, and end a schedule at its lowest rate.
        raised = is_level and any(rate >= 2 * own for rate, own in zip(rates, given))
        self._level[id(optimizer)] = self._level.get(id(optimizer), 0) + raised if is_level else -math.inf
        if not raised or self._level[id(optimizer)] != _LEVEL:
            return []
        shown = ", ".join(f"{rate:.3g}" for rate in given)
        return [
            (
                "levelled",
                f"all parameter groups of {type(optimizer).__name__} have the learning rate {rates[0]:.3g} in each of "
                f"{_LEVEL} steps, though they were given rates of their own: {shown}",
                "Multiply the rate of each group by the schedule's factor, or give a scheduler a list of rates.",
            )
        ]

    def _taken(self, trainer: TrainingView, own: bool, batch_idx: int) -> list[Finding]:
        """Compare the schedulers' own counts of turns with the turns that were due."""
        findings: list[Finding] = []
        epoch = self._epoch
        for config in self._configs:
            count = _turns_of(config.scheduler)
            if count is None or getattr(config, "reduce_on_plateau", False):
                continue
            by_step = getattr(config, "interval", "epoch") == "step"
            frequency = max(1, int(getattr(config, "frequency", 1) or 1))
            key, now = id(config.scheduler), self._steps if by_step else epoch
            first, began, latest = self._turns.setdefault(key, (count, now, count))
            self._turns[key] = first, began, count
            kind = type(config.scheduler).__name__
            due = (now - began) // frequency if own else (epoch if not by_step else 0) // 2
            if due >= (2 if by_step else 1) and count == first and not (by_step and trainer.is_scaled):
                findings.append(
                    (
                        "unstepped",
                        f"{kind}, a scheduler, was due {due} times but never stepped: the learning rate stays constant",
                        "Call scheduler.step() in lr_scheduler_step, or in the module under manual optimization.",
                    )
                )
            if own and not by_step and batch_idx > 1 and count != latest:
                findings.append(
                    (
                        "too-often",
                        f"{kind}, a scheduler with the interval of an epoch, was stepped before "
                        f"{self.batch_name(batch_idx)}",
                        "Step it in one place only"
                        + self.terms.either("; the Trainer steps those that configure_optimizers returns.", "."),
                    )
                )
        return findings

    def _course(self, course: _Course, rate: float) -> list[Finding]:
        before = course.latest
        course.add(rate)
        left = self._planned - self._steps - self._began
        if not before or before < 0 or rate >= before or not math.isfinite(left) or left < self.left * self._planned:
            return []
        ratios = [*course.ratios]
        by_step = any(getattr(config, "interval", "") == "step" for config in self._configs)
        gradual = any(getattr(config, "reduce_on_plateau", False) for config in self._configs)
        # A factor at every step was probably meant for epochs.
        steady = by_step and len(ratios) == 4 and max(ratios) < 0.95 and max(ratios) - min(ratios) < 0.01
        fallen = rate / course.highest
        to_come = fallen * ratios[-1] ** (left / 2) if steady else fallen
        if (rate <= self.drop * before and fallen <= self.drop) or (
            (fallen < self.negligible or to_come < 100 * self.negligible * steady) and not gradual
        ):
            said = f"it decayed to {fallen:.2g} of its highest" + ("" if fallen == to_come else ", and keeps falling")
            return [
                (
                    "collapses",
                    f"the learning rate collapses: it is {rate:.3g}, {said}, with {left:.0f} of {self._planned:.0f} "
                    "steps to come",
                    "Look at the scheduler's factor (gamma), its length, and whether its interval is step or epoch.",
                )
            ]
        return []


class _Course:
    """The history of the rates of one parameter group, with the last four factors from step to step."""

    def __init__(self) -> None:
        self.latest: float | None = None
        self.highest = 0.0
        self.ratios: deque[float] = deque(maxlen=4)

    def add(self, rate: float) -> None:
        if self.latest:
            self.ratios.append(rate / self.latest)
        self.latest = rate
        self.highest = max(self.highest, rate)


def _turns_of(scheduler: Any) -> _Turns | None:
    """Return the counts of a scheduler's turns, None if it has none."""
    count = getattr(scheduler, "_step_count", None)
    # CosineAnnealingWarmRestarts does not advance the first count.
    return (count, getattr(scheduler, "last_epoch", None)) if isinstance(count, int) else None


def _configs(trainer: TrainingView) -> list[Any]:
    found = trainer.lr_scheduler_configs or []
    return [config for config in found if getattr(config, "scheduler", None) is not None]


def _has_scheduler(optimizer: Any, module: Any) -> bool:
    """Return whether a scheduler that is not among the configurations may raise a rate of zero."""
    return _keeps_scheduler(module) or any(group.get("initial_lr") for group in optimizer.param_groups)


def _keeps_scheduler(module: Any) -> bool:
    """Return whether the module keeps a scheduler as an attribute, to step it itself."""
    held = [
        part for value in vars(module).values() for part in (value if isinstance(value, (list, tuple)) else [value])
    ]
    return any(hasattr(part, "get_last_lr") or hasattr(part, "last_epoch") for part in held)

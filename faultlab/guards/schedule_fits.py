"""The guard that checks that the length of a learning rate schedule fits the training."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch.optim import lr_scheduler as stock

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.parameter_samples import automatic
from faultlab.guards.support.training_plan import Plan
from faultlab.guards.support.training_view import TrainingView

_LONG = 100
"""No warm-up and no period in epochs is as long as this."""


class ScheduleFits(Guard):
    """A guard against schedules that are defined in steps but stepped once per epoch, or the other way around.

    It compares the schedule's own length (`total_steps`, `T_max`, `total_iters`, milestones, the arguments of
    transformers' schedules) with the turns that it gets in the training. The alarm requires that its length is that of
    the training in another unit; a schedule that is merely longer is allowed, for short trials. If the module steps its
    schedulers itself, the turns of the first epoch are counted.

    Trainings of unknown length, schedules by metric, and custom functions are not judged.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "stepped-by-epoch": "a schedule that is defined in steps is stepped once per epoch",
        "stepped-by-step": "a schedule that is defined in epochs is stepped at every step",
        "stepped-too-seldom": "a schedule that is defined in batches is stepped once for several of them",
        "misplaced-key": "a scheduler's interval or frequency is set beside the optimizer, where it is ignored",
    }
    causes = {
        "stepped-by-epoch": "scheduler, interval, epoch, step, learning rate, dict",
        "stepped-by-step": "scheduler, interval, epoch, step",
        "stepped-too-seldom": "scheduler, frequency, learning rate, batches, step",
        "misplaced-key": "scheduler, optimizer, key, dict, return",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._counted: list[tuple[int, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_counted": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._counted = []

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.lr_scheduler_configs is None:
            self.skip("the schedules are not known")
            return
        configs = [config for config in trainer.lr_scheduler_configs if _has_turns(config)]
        if not configs:
            return
        own = automatic(pl_module) and not parameter_samples.overrides_stock(pl_module, "lr_scheduler_step")
        if own:
            self._judge_keys(configs, pl_module)
        plan = Plan.of(trainer)
        if plan is None:
            self.skip("the length of the training is not known in advance")
            return
        self.looked += 1
        if not own:
            first = not trainer.current_epoch
            self._counted = [(_turns(config.scheduler), config) for config in configs] if first else []
            return
        for config in configs:
            by_step = getattr(config, "interval", "epoch") == "step"
            every = max(1, int(getattr(config, "frequency", 1) or 1))
            self._judge(config.scheduler, plan, by_step, (plan.steps if by_step else plan.epochs) // every)

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._counted or not trainer.current_epoch:
            return
        counted, self._counted = self._counted, []
        plan = Plan.of(trainer)
        for before, config in counted if plan else []:
            assert plan is not None
            turns = _turns(config.scheduler) - before
            by_step = turns > 1 and turns >= 0.9 * plan.steps_an_epoch
            if by_step or turns == 1:
                self._judge(config.scheduler, plan, by_step, turns * plan.epochs)

    def _judge(self, scheduler: Any, plan: Plan, by_step: bool, turns: int) -> None:
        length = _length(scheduler)
        kind = type(scheduler).__name__
        if not by_step and (meant := _meant_in_steps(scheduler, length, plan, turns)):
            self.alarm(
                "stepped-by-epoch",
                f"{kind} is defined in steps ({meant}) but stepped per epoch: it gets {turns} turns in this training "
                f"of {plan.steps} steps, so that the learning rate hardly changes",
                'Set "interval": "step" in the dictionary with the scheduler, or define the schedule in epochs.',
            )
        elif by_step and (ends := _ends_in_epochs(scheduler, length, plan, turns)):
            meant = (
                f"its milestones are {', '.join(map(str, ends))}" if len(ends) > 1 else f"its length is {ends[0]:.0f}"
            )
            self.alarm(
                "stepped-by-step",
                f"{kind} is defined in epochs ({meant}) but stepped at every step: it gets {turns} turns, and ends "
                f"within the first {ends[-1]:.0f} steps of {plan.steps}",
                'Leave "interval" at "epoch", or define the schedule in steps (trainer.estimated_stepping_batches).',
            )
        elif by_step and length and 2 * turns <= length and length in (plan.batches, plan.steps):
            self.alarm(
                "stepped-too-seldom",
                f"{kind} is {length:.0f} turns long, as many as there are batches, but gets {turns}: several batches "
                "belong to one turn, and the learning rate never reaches the end of the schedule",
                "Set its length to trainer.estimated_stepping_batches, divided by the scheduler's frequency.",
            )

    def _judge_keys(self, configs: list[Any], pl_module: Any) -> None:
        misplaced = _keys_beside_optimizer(pl_module)
        for name, usual in _KEYS.items():
            if name in misplaced and all(getattr(c, name, usual) == usual for c in configs):
                self.alarm(
                    "misplaced-key",
                    f'configure_optimizers returns "{name}" in the dictionary of the optimizer, where it is '
                    f"ignored: the scheduler's {name} is still {usual!r}",
                    f'Move "{name}" into the dictionary under "lr_scheduler", beside "scheduler".',
                )


def _has_turns(config: Any) -> bool:
    return isinstance(getattr(config, "scheduler", None), stock.LRScheduler) and not getattr(
        config, "reduce_on_plateau", False
    )


def _turns(scheduler: Any) -> int:
    return int(getattr(scheduler, "last_epoch", 0) or 0)


def _length(scheduler: Any) -> float | None:
    """Return the number of turns after which a schedule ends, None if it has no end or that is unknown."""
    if isinstance(scheduler, stock.OneCycleLR):
        return float(scheduler.total_steps)
    if isinstance(scheduler, stock.CosineAnnealingLR):
        return float(scheduler.T_max)
    if isinstance(scheduler, stock.PolynomialLR) or (
        isinstance(scheduler, stock.LinearLR) and scheduler.end_factor < scheduler.start_factor
    ):
        return float(scheduler.total_iters)
    if isinstance(scheduler, stock.SequentialLR):
        last = _length(scheduler._schedulers[-1])
        return None if last is None else scheduler._milestones[-1] + last
    if isinstance(scheduler, stock.ChainedScheduler):
        return max((found for part in scheduler._schedulers if (found := _length(part))), default=None)
    return _keyword(scheduler, "num_training_steps")


def _warm_up(scheduler: Any) -> float | None:
    """Return the number of turns that a schedule needs to reach its rate."""
    if isinstance(scheduler, stock.LinearLR) and scheduler.end_factor > scheduler.start_factor:
        return float(scheduler.total_iters)
    if isinstance(scheduler, stock.SequentialLR):
        return _warm_up(scheduler._schedulers[0])
    return _keyword(scheduler, "num_warmup_steps")


def _keyword(scheduler: Any, name: str) -> float | None:
    """Return an argument of the function of a LambdaLR, as in transformers' schedules."""
    for function in getattr(scheduler, "lr_lambdas", None) or []:
        value = function.keywords.get(name) if isinstance(function, functools.partial) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    return None


def _meant_in_steps(scheduler: Any, length: float | None, plan: Plan, turns: int) -> str:
    """Return the evidence that a schedule is defined in steps, empty if there is none."""
    if length and 4 * turns <= length and any(abs(length - n) <= 1 for n in plan.all_steps):
        return f"its length is {length:.0f}"
    warm_up = _warm_up(scheduler)
    if warm_up and max(_LONG, 4 * turns) <= warm_up <= plan.steps:
        return f"its warm-up takes {warm_up:.0f}"
    if isinstance(scheduler, stock.CyclicLR):
        up = scheduler.total_size * scheduler.step_ratio
        if up >= max(_LONG, 10 * turns, plan.steps_an_epoch):
            return f"half a cycle takes {up:.0f}"
    if isinstance(scheduler, stock.StepLR):
        size, epoch = scheduler.step_size, plan.steps_an_epoch
        if epoch >= 20 and size % epoch == 0 and max(_LONG, 4 * turns) <= size < plan.steps:
            return f"a period takes {size}"
    if isinstance(scheduler, stock.MultiStepLR) and plan.steps >= 2 * _LONG:
        places = sorted(scheduler.milestones)
        parts = [place * 20 / plan.steps for place in places]
        rounded = all(abs(part - round(part)) * plan.steps <= 20 for part in parts)
        if places and max(4 * turns, plan.steps / 5) <= places[0] and places[-1] < plan.steps and rounded:
            return f"its milestones are {', '.join(map(str, places))}"
    return ""


def _ends_in_epochs(scheduler: Any, length: float | None, plan: Plan, turns: int) -> Sequence[float]:
    """Return the milestones, or the length alone, of a schedule that is defined in epochs; empty if it is not."""
    if plan.epochs < 5 or turns < 4 * plan.epochs:
        return []
    if length and length == plan.epochs:
        return [length]
    if isinstance(scheduler, stock.MultiStepLR) and scheduler.gamma < 1:
        places = sorted(scheduler.milestones)
        if len(places) > 1 and plan.epochs / 2 <= places[-1] < min(plan.epochs, plan.steps_an_epoch):
            return places
    return []


_KEYS: dict[str, Any] = {"interval": "epoch", "frequency": 1}
"""A scheduler's settings in a dictionary of `configure_optimizers`, and their defaults."""


def _strings(constants: Iterable[Any]) -> Iterator[str]:
    """Yield the strings among a function's constants, and those of functions within it."""
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, types.CodeType):
            yield from _strings(constant.co_consts)
        elif isinstance(constant, (tuple, frozenset)):
            yield from _strings(constant)


def _keys_beside_optimizer(pl_module: Any) -> set[str]:
    """Return the scheduler settings that `configure_optimizers` writes into a dictionary with the key "optimizer"."""
    found: set[str] = set()
    try:
        method = inspect.unwrap(type(pl_module).configure_optimizers)
        # Reading the source takes as long as a small step.
        if isinstance(method, types.FunctionType) and _KEYS.keys().isdisjoint(_strings(method.__code__.co_consts)):
            return found
        source = inspect.getsource(method)
        tree = ast.parse(textwrap.dedent(source))
    except (OSError, TypeError, SyntaxError, AttributeError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = {key.value: value for key, value in zip(node.keys, node.values) if isinstance(key, ast.Constant)}
            for name, usual in _KEYS.items():
                value = keys.get(name)
                if "optimizer" in keys and value is not None:
                    found |= set() if isinstance(value, ast.Constant) and value.value == usual else {name}
    return found

"""The guard that checks that the length of a learning rate schedule fits the training."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples, schedule_length
from faultlab.guards.support.optimizer_history import steps_before
from faultlab.guards.support.parameter_samples import automatic, optimizers_of
from faultlab.guards.support.training_plan import Elapsed, Plan
from faultlab.guards.support.training_view import TrainingView


class ScheduleFits(Guard):
    """A guard against schedules that are defined in steps but stepped once per epoch, or the other way around.

    It compares the schedule's own length (`total_steps`, `T_max`, `total_iters`, milestones, the arguments of
    transformers' schedules) with the turns that it gets in the training. The alarm requires that its length is that of
    the training in another unit; a schedule that is merely longer is allowed, for short trials. If the module steps its
    schedulers itself, the turns of the first epoch are counted. In a loop of unknown length, they are judged when it
    ends. The schedule of steps of a loop that is resumed has to continue about where its optimizer does.

    Trainings of unknown length, schedules by metric, and custom functions are not judged.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "stepped-by-epoch": "a schedule that is defined in steps is stepped once per epoch",
        "stepped-by-step": "a schedule that is defined in epochs is stepped at every step",
        "stepped-too-seldom": "a schedule that is defined in batches is stepped once for several of them",
        "stepped-repeatedly": "a schedule is stepped several times for each batch",
        "misplaced-key": "a scheduler's interval or frequency is set beside the optimizer, where it is ignored",
        "resumed-elsewhere": "a schedule of steps is resumed at another number than its optimizer",
    }
    causes = {
        "stepped-by-epoch": "scheduler, interval, epoch, step, learning rate, dict",
        "stepped-by-step": "scheduler, interval, epoch, step",
        "stepped-too-seldom": "scheduler, frequency, learning rate, batches, step",
        "stepped-repeatedly": "scheduler, stepped, twice, batch, learning rate, decay, length",
        "misplaced-key": "scheduler, optimizer, key, dict, return",
        "resumed-elsewhere": "scheduler, resume, last_epoch, epoch, step, checkpoint, warm, learning rate",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._forget()

    def _forget(self) -> None:
        self._counted: list[tuple[int, Any]] = []
        self._epoch: Elapsed | None = None
        self._before: dict[int, int] = {}
        self._units: dict[int, tuple[bool, bool]] = {}
        self._taken: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_counted": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.lr_scheduler_configs is None:
            self._begin_loop(trainer)
            return
        configs = [config for config in trainer.lr_scheduler_configs if schedule_length.has_turns(config)]
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
            self._counted = [(schedule_length.turns(config.scheduler), config) for config in configs] if first else []
            return
        for config in configs:
            by_step = getattr(config, "interval", "epoch") == "step"
            every = max(1, int(getattr(config, "frequency", 1) or 1))
            self._judge(config.scheduler, plan, by_step, (plan.steps if by_step else plan.epochs) // every)

    def _begin_loop(self, trainer: TrainingView) -> None:
        if trainer.stepped_schedulers is None or not trainer.shows_batches:
            self.skip("the schedules are not known")
            return
        self._epoch = Elapsed.of(trainer)
        self._before.clear()
        self._taken = {id(one): steps for one in optimizers_of(trainer) if (steps := steps_before(one))}

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        """Judge the schedules of a loop by the turns of the epoch: now, or if its length is unknown, at its end."""
        if self._epoch is None or trainer.stepped_schedulers is None:
            return
        began, self._epoch = self._epoch, Elapsed.of(trainer)
        epoch = self._epoch - began
        planned = Plan.of(trainer)
        for scheduler, first in trainer.stepped_schedulers:
            before = self._before.get(id(scheduler), first)
            self._before[id(scheduler)] = now = schedule_length.turns(scheduler)
            turns = now - before
            self.looked += 1
            # Several steps for a batch, such as the inner ones of reinforcement learning, have a turn each.
            apart = max(epoch.batches, epoch.steps // max(1, len(trainer.optimizers or [])))
            if epoch.batches > 1 and turns >= 2 * apart and trainer.world_size == 1:
                self._say_repeated(scheduler, turns / apart)
            by_step = turns > 1 and turns >= 0.9 * epoch.steps
            if planned is not None and (by_step or turns == 1):
                self._judge(scheduler, planned, by_step, turns * planned.epochs)
            self._units[id(scheduler)] = by_step, turns == 1
        self._judge_resumed(trainer.stepped_schedulers)

    def _judge_resumed(self, schedulers: Iterable[tuple[Any, int]]) -> None:
        """Compare where the schedules of a resumed loop continued with the steps that their optimizers had taken."""
        found: dict[int, tuple[Any, int]] = {}
        for scheduler, first in schedulers:
            key = id(getattr(scheduler, "optimizer", None))
            # If schedules follow each other, the later ones have not counted the steps of the others.
            if self._units[id(scheduler)][0] and first >= found.get(key, (None, 0))[1]:
                found[key] = scheduler, first
        for key, (scheduler, first) in found.items():
            taken = self._taken.pop(key, 0)
            # One that begins is a new schedule.
            if 0 < first < taken / 2 and taken >= _MANY:
                self.alarm(
                    "resumed-elsewhere",
                    f"{type(scheduler).__name__} is stepped at every step and was resumed at turn {first}, while its "
                    f"optimizer had taken {taken} steps: the learning rate is that of the beginning again",
                    "Restore the scheduler's state_dict, or pass it the number of steps as last_epoch, not of epochs.",
                )

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if self._epoch is None or trainer.stepped_schedulers is None or Plan.of(trainer) is not None:
            return
        # Only now is it known how long the training was.
        plan = Plan.past(trainer)
        for scheduler, first in trainer.stepped_schedulers if plan else ():
            by_step, by_epoch = self._units.get(id(scheduler), (False, False))
            if plan is not None and (by_step or by_epoch):
                self._judge(scheduler, plan, by_step, schedule_length.turns(scheduler) - first)

    def _say_repeated(self, scheduler: Any, times: float) -> None:
        length = schedule_length.length(scheduler)
        ends = f", so that it ends after {length / times:.0f} batches" if length else ""
        self.alarm(
            "stepped-repeatedly",
            f"{type(scheduler).__name__} is stepped {times:.3g} times for each batch{ends}",
            "Call scheduler.step() once after each optimizer.step(), whatever the number of processes.",
        )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._counted or not trainer.current_epoch:
            return
        counted, self._counted = self._counted, []
        plan = Plan.of(trainer)
        for before, config in counted if plan else []:
            assert plan is not None
            turns = schedule_length.turns(config.scheduler) - before
            by_step = turns > 1 and turns >= 0.9 * plan.steps_an_epoch
            if by_step or turns == 1:
                self._judge(config.scheduler, plan, by_step, turns * plan.epochs)

    def _judge(self, scheduler: Any, plan: Plan, by_step: bool, turns: int) -> None:
        length = schedule_length.length(scheduler)
        kind = type(scheduler).__name__
        if not by_step and (meant := schedule_length.meant_in_steps(scheduler, length, plan, turns)):
            self.alarm(
                "stepped-by-epoch",
                f"{kind} is defined in steps ({meant}) but stepped per epoch: it gets {turns} turns in this training "
                f"of {plan.steps} steps, so that the learning rate hardly changes",
                'Set "interval": "step" in the dictionary with the scheduler, or define the schedule in epochs.',
            )
        elif by_step and (ends := schedule_length.ends_in_epochs(scheduler, length, plan, turns)):
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


_MANY = 8
"""The least number of steps of an optimizer that counts as one that is resumed."""

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

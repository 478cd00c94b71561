"""scheduler: failure modes of the warm-up of the learning rate."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from faultlab.catalogue.injection_points import Optimizers, StepCall
from faultlab.frameworks.torch.optimizers import schedules_in
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "scheduler.warm-up-skipped",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("warm", "schedul", "learning rate", "learning_rate"),
    needs=("warm-up",),
    evidence=("allenai/open-instruct#579",),
)
def skip_warm_up(result: Any, ctx: Context) -> Any:
    """The schedule begins at the highest learning rate, without the warm-up that was asked for.

    Effect: the first steps are as large as any later one, while the averages of Adam still are estimates from a few
    batches: weights that were pretrained are damaged, and a large model may diverge. No error or warning is raised.
    Why it goes undetected: a small model recovers; the curve of the learning rate lacks only its short rise.
    Example:
        steps = int(total * ratio) if ratio >= 0 else warmup_steps      # the default of ratio is 0
    Remedy: log the learning rate, and check that the first one is a small part of the highest.
    """
    for schedule in schedules_in(result):
        scheduler = schedule["scheduler"]
        if not isinstance(scheduler, ReduceLROnPlateau):
            with warnings.catch_warnings():
                # As torch warns of the order of steps, which is not what is wrong here.
                warnings.simplefilter("ignore")
                for _ in range(ctx.profile.warm_up):
                    scheduler.step()
    return result


@failure_mode(
    "scheduler.restarts-each-epoch",
    seam=StepCall("lr_scheduler_step"),
    severity="major",
    effect="silent",
    cause=("warm", "schedul", "learning rate", "learning_rate", "restart", "reset", "epoch"),
    needs=("step-scheduler", "several-epochs"),
    evidence=("Vision-CAIR/MiniGPT-4#263",),
)
def restart_each_epoch(call: Call, ctx: Context) -> Any:
    """The schedule counts the steps within an epoch, so it begins again with every epoch.

    Effect: a warm-up that is longer than an epoch never reaches the full learning rate; a decay never ends. No error or
    warning is raised.
    Why it goes undetected: schedules that restart exist, the loss falls, and in the first epoch nothing is wrong.
    Example:
        for step, batch in enumerate(loader):
            set_rate(optimizer, step)           # epoch * len(loader) + step
    Remedy: log the learning rate over all epochs; step the schedule by the number of optimizer steps so far.
    """
    scheduler = ctx.memory["scheduler"]
    own = ctx.memory.setdefault(id(scheduler), {"first": _state(scheduler), "epoch": None})
    # A scheduler that is stepped once per epoch has not been stepped in this one before.
    stepped, own["epoch"] = own["epoch"] == ctx.epoch, ctx.epoch
    if not stepped or (ctx.step + 1) % ctx.profile.steps_per_epoch:
        return call()
    first, groups = own["first"]
    scheduler.load_state_dict(copy.deepcopy(first))
    for group, settings in zip(scheduler.optimizer.param_groups, groups):
        group.update(copy.deepcopy(settings))
    return None


def _state(scheduler: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the state of a scheduler, and the settings of its optimizer's groups, which it changes."""
    groups = [{k: v for k, v in group.items() if k != "params"} for group in scheduler.optimizer.param_groups]
    return copy.deepcopy(scheduler.state_dict()), copy.deepcopy(groups)

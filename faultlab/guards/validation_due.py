"""Validation comes due before the training is over, and has data to run on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_plan import Plan
from faultlab.guards.support.training_view import TrainingView

_KEPT = re.compile(r"^_?(val|valid|validation)_?(data|dataset|set|ds|dataloader|dataloaders|loader|loaders|dl)$")


class ValidationDue(Guard):
    """Detects validation that will never come due in this training, and a validation_step that will never get data.

    It looks once, when training begins. Intervals that `limit_train_batches` cuts off are let pass, as are trainings
    of unknown length and validation by the clock. A validation_step without data is an alarm only where something
    waits for it: a callback or a schedule that monitors a metric of validation, or validation data that the module or
    the datamodule keeps and does not hand over.
    """

    checks = {
        "never-due": "the interval of validation is longer than the training",
        "no-data": "validation is waited for and nobody hands over data for it",
    }
    causes = {
        "never-due": "no validation, interval, limit, short, epoch, batches",
        "no-data": "no validation, val_dataloader, validation_step",
    }

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.fast_dev_run or trainer.limit_val_batches == 0:
            return
        if not parameter_samples.overrides_stock(pl_module, "validation_step"):
            return
        if not trainer.plans_validation:
            self.skip("when validation comes due is the loop's own affair")
            return
        waiting = [f"{owner} monitors {name}" for owner, name in _waiting(trainer)]
        if trainer.has_validation_data:
            if not _is_foreseeable(trainer):
                self.skip("when validation comes due is not known beforehand")
                return
            self.looked += 1
            if reason := _never_due(trainer, parameter_samples.automatic(pl_module)):
                self.alarm(
                    "never-due",
                    f"validation will never run: {reason}" + "".join(f"; {what} in vain" for what in waiting),
                    "Shorten the interval (check_val_every_n_epoch counts epochs, val_check_interval batches, or an "
                    "epoch's share as a fraction), or give limit_val_batches=0 if no validation is wanted.",
                )
        elif waiting := waiting + [f"{name} is there and not handed over" for name in _kept(trainer, pl_module)]:
            self.alarm(
                "no-data",
                f"{type(pl_module).__name__}.validation_step gets no data, since there is no validation loader, and "
                f"{waiting[0]}",
                "Define val_dataloader, spelt so, or give fit a val_dataloaders.",
            )


def _waiting(trainer: TrainingView) -> Iterator[tuple[str, str]]:
    """Who monitors a metric that validation logs, by its name."""
    plans = [c for c in trainer.lr_scheduler_configs or [] if getattr(c, "reduce_on_plateau", False)]
    owners = [(callback, callback) for callback in trainer.callbacks]
    for owner, holder in [*owners, *((plan.scheduler, plan) for plan in plans)]:
        name = getattr(holder, "monitor", None)
        if isinstance(name, str) and re.match(r"val(id|idation)?([_/.-]|$)", name.lower()):
            yield type(owner).__name__, name


def _kept(trainer: TrainingView, pl_module: Any) -> Iterator[str]:
    """Attributes and methods that hold validation data by their names."""
    datamodule = trainer.datamodule
    for owner in (datamodule, pl_module):
        if owner is None:
            continue
        own = {name for name, value in vars(owner).items() if value is not None and not _is_empty(value)}
        stock = ("pytorch_lightning", "lightning", "torch", "builtins")
        for cls in type(owner).__mro__:
            if cls.__module__.partition(".")[0] not in stock:
                own |= {name for name, value in vars(cls).items() if callable(value)}
        # Lightning has asked this one, which had nothing to give, as where no share is set aside for validation.
        if owner is (pl_module if datamodule is None else datamodule):
            own.discard("val_dataloader")
        yield from (f"{type(owner).__name__}.{name}" for name in sorted(own) if _KEPT.match(name))


def _is_empty(data: Any) -> bool:
    try:
        return len(data) == 0
    except Exception:  # no length, or a foreign object that can't tell it
        return False


def _is_foreseeable(trainer: TrainingView) -> bool:
    by_batches = trainer.check_val_every_n_epoch is None and type(trainer.val_check_interval) is int
    return not trainer.validates_by_clock and not (by_batches and Plan.of(trainer) is None)


def _never_due(trainer: TrainingView, automatic: bool) -> str:
    """Why no validation comes due, "" where one does or nobody can tell."""
    every = trainer.check_val_every_n_epoch
    interval = trainer.val_check_interval
    done = trainer.current_epoch
    last = trainer.max_epochs
    if every is not None and every > 1 and isinstance(last, int) and last > 0:
        if done // every == last // every:
            return f"check_val_every_n_epoch is {every}, and the training ends after {last} epochs"
        return ""
    # How many batches go into a step under manual optimisation is the module's own affair.
    is_known = every is None and not done and (automatic or (trainer.max_steps or -1) < 0)
    plan = Plan.of(trainer) if is_known else None
    if plan and type(interval) is int and interval > plan.all_batches:
        return f"val_check_interval is {interval} batches, and the training has {plan.batches} in all"
    return ""

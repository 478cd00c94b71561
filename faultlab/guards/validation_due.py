"""The guard that checks that validation will be due within the training, and has data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support import packages, parameter_samples
from faultlab.guards.support.training_plan import Plan
from faultlab.guards.support.training_view import TrainingView

_KEPT = re.compile(r"^_?(val|valid|validation)_?(data|dataset|set|ds|dataloader|dataloaders|loader|loaders|dl)$")


class ValidationDue(Guard):
    """A guard against validation that will never be due, and a validation_step that will never get data.

    It looks once, when training starts. Intervals that `limit_train_batches` makes too long are allowed, and trainings
    of unknown length and validation by the clock are not judged. A validation_step without data raises an alarm only if
    something needs it: a callback or a schedule that monitors a validation metric, or validation data that the module
    or the datamodule keeps without returning a loader.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "never-due": "the interval of validation is longer than the training",
        "no-data": "validation is needed, but there are no data for it",
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
            self.skip("when validation is due is decided by the loop")
            return
        waiting = [f"{owner} monitors {name}" for owner, name in _waiting(trainer)]
        if trainer.has_validation_data:
            if not _is_foreseeable(trainer):
                self.skip("when validation is due is not known in advance")
                return
            self.looked += 1
            if reason := _never_due(trainer, parameter_samples.automatic(pl_module)):
                self.alarm(
                    "never-due",
                    f"validation will never run: {reason}"
                    + "".join(f"; {what}, which will not be logged" for what in waiting),
                    "Shorten the interval (check_val_every_n_epoch counts epochs, val_check_interval batches, or a "
                    "share of an epoch as a fraction), or set limit_val_batches=0 if no validation is wanted.",
                )
        elif waiting := waiting + [f"{name} exists but is not used" for name in _kept(trainer, pl_module)]:
            self.alarm(
                "no-data",
                f"{type(pl_module).__name__}.validation_step gets no data, since there is no validation loader, "
                f"though {waiting[0]}",
                "Define val_dataloader, under exactly this name, or pass val_dataloaders to fit.",
            )


def _waiting(trainer: TrainingView) -> Iterator[tuple[str, str]]:
    """Yield the objects that monitor a metric of validation, by its name."""
    plans = [c for c in trainer.lr_scheduler_configs or [] if getattr(c, "reduce_on_plateau", False)]
    owners = [(callback, callback) for callback in trainer.callbacks]
    for owner, holder in [*owners, *((plan.scheduler, plan) for plan in plans)]:
        name = getattr(holder, "monitor", None)
        if isinstance(name, str) and re.match(r"val(id|idation)?([_/.-]|$)", name.lower()):
            yield type(owner).__name__, name


def _kept(trainer: TrainingView, pl_module: Any) -> Iterator[str]:
    """Yield the attributes and methods that hold validation data, by their names."""
    datamodule = trainer.datamodule
    for owner in (datamodule, pl_module):
        if owner is None:
            continue
        own = {name for name, value in vars(owner).items() if value is not None and not _is_empty(value)}
        for cls in type(owner).__mro__:
            if not packages.stock(cls) and cls.__module__.partition(".")[0] not in ("torch", "builtins"):
                own |= {name for name, value in vars(cls).items() if callable(value)}
        # Lightning has called this one, which returned nothing, as if no share is set aside for validation.
        if owner is (pl_module if datamodule is None else datamodule):
            own.discard("val_dataloader")
        yield from (f"{type(owner).__name__}.{name}" for name in sorted(own) if _KEPT.match(name))


def _is_empty(data: Any) -> bool:
    try:
        return len(data) == 0
    except Exception:  # no length, or an object that can't return it
        return False


def _is_foreseeable(trainer: TrainingView) -> bool:
    by_batches = trainer.check_val_every_n_epoch is None and type(trainer.val_check_interval) is int
    return not trainer.validates_by_clock and not (by_batches and Plan.of(trainer) is None)


def _never_due(trainer: TrainingView, automatic: bool) -> str:
    """Return why no validation is due, empty if one is or it is unknown."""
    every = trainer.check_val_every_n_epoch
    interval = trainer.val_check_interval
    done = trainer.current_epoch
    last = trainer.max_epochs
    if every is not None and every > 1 and isinstance(last, int) and last > 0:
        if done // every == last // every:
            return f"check_val_every_n_epoch is {every}, and the training ends after {last} epochs"
        return ""
    # Under manual optimization the module decides how many batches belong to a step.
    is_known = every is None and not done and (automatic or (trainer.max_steps or -1) < 0)
    plan = Plan.of(trainer) if is_known else None
    if plan and type(interval) is int and interval > plan.all_batches:
        return f"val_check_interval is {interval} batches, but the training has {plan.batches} in all"
    return ""

"""The guard that checks that methods named like hooks are hooks, and that callbacks stay attached."""

from __future__ import annotations

import difflib
import dis
import inspect
import operator
from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, packages, parameter_samples, trainer_state
from faultlab.guards.support.callback import HOOKS
from faultlab.guards.support.training_view import TrainingView

_REMOVED = {
    "training_epoch_end": "on_train_epoch_end",
    "validation_epoch_end": "on_validation_epoch_end",
    "test_epoch_end": "on_test_epoch_end",
    "training_step_end": "training_step",
    "validation_step_end": "validation_step",
    "test_step_end": "test_step",
    "on_epoch_start": "on_train_epoch_start",
    "on_epoch_end": "on_train_epoch_end",
    "on_batch_start": "on_train_batch_start",
    "on_batch_end": "on_train_batch_end",
    "on_init_start": "setup",
    "on_init_end": "setup",
    "on_pretrain_routine_start": "on_fit_start",
    "on_pretrain_routine_end": "on_fit_start",
    "on_keyboard_interrupt": "on_exception",
    "on_load_checkpoint_end": "on_load_checkpoint",
    "on_training_epoch_end": "on_train_epoch_end",
    "on_training_start": "on_train_start",
    "on_training_end": "on_train_end",
}
_STEPS = ("training_step", "validation_step", "test_step", "predict_step", "configure_optimizers", "train_dataloader",
          "val_dataloader", "test_dataloader", "prepare_data", "optimizer_step", "lr_scheduler_step")  # fmt: skip
_TAKEN_FOR = {"train_step": "training_step", "val_step": "validation_step", "valid_step": "validation_step",
              "configure_optimizer": "configure_optimizers", "valid_dataloader": "val_dataloader",
              "validation_dataloader": "val_dataloader"}  # fmt: skip


_DATA_HOOKS = ("prepare_data", "setup", "teardown", "train_dataloader", "val_dataloader", "test_dataloader",
               "predict_dataloader", "state_dict", "load_state_dict", "on_exception", "on_before_batch_transfer",
               "on_after_batch_transfer", "transfer_batch_to_device")  # fmt: skip
_TAKEN_FOR_VALIDATION = {
    "val_loader", "valid_loader", "validation_loader", "val_loaders", "valid_dataloader", "validation_dataloader",
    "val_dataloaders", "valid_dataloaders", "validation_dataloaders", "val_dl", "valid_dl", "get_val_dataloader",
    "dev_dataloader", "eval_dataloader", "eval_loader", "dev_loader",
}  # fmt: skip
_TAKEN_FOR_SETUP = {"setup_data": "setup", "data_setup": "setup", "set_up": "setup", "setup_datasets": "setup",
                    "prepare": "prepare_data", "prepare_dataset": "prepare_data",
                    "prepare_datasets": "prepare_data"}  # fmt: skip


class HooksCalled(Guard):
    """A guard against methods that look like Lightning's hooks but are never called, and against lost callbacks.

    It checks the module, the datamodule and callbacks for hooks that Lightning 2 removed and for methods whose names
    are nearly those of a hook. Allowed are methods that the class itself calls, a validation loader under another name
    if there is a real one or nothing to validate, and a method that sets up data under another name if it was called.

    The guard also detects callbacks that are removed from the Trainer during training, and steps taken without a call
    of its own hooks.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-a-hook": "a method looks like a hook but is not one",
        "callback-gone": "a callback is no longer among the Trainer's callbacks",
        "not-called": "steps were taken, but the guard's hook for batches was not called",
    }
    causes = {
        "not-a-hook": "hook, never called",
        "callback-gone": "callback, missing, training",
        "not-called": "callback, hook, never called, batch, step",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._callbacks: list[Any] = []
        self._batches = self._steps_before = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_callbacks": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._batches = 0
        self._callbacks = []
        known = set(dir(_package_class(pl_module, "LightningModule"))) | set(HOOKS)
        data = trainer.datamodule
        lacks = parameter_samples.overrides_stock(pl_module, "validation_step") and not trainer.has_validation_data
        for owner in [pl_module, *([] if data is None else [data]), *trainer.callbacks]:
            if owner is data:
                found = _almost_hooks(owner, set(dir(_package_class(owner, "LightningDataModule"))), _DATA_HOOKS)
                found += _unmade(owner)
            else:
                found = _almost_hooks(owner, known if owner is pl_module else set(HOOKS))
            if lacks and owner in (data, pl_module):
                found += _misnamed_validation(owner)
            if found:
                name, meant = found[0]
                self.alarm(
                    "not-a-hook",
                    f"{type(owner).__name__}.{name} looks like a hook but is never called: the Trainer's hook is "
                    f"{meant}",
                    f"Rename it to {meant}, or to something less similar if it is meant for another purpose.",
                )

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._callbacks = list(trainer.callbacks)
        self._steps_before = trainer.global_step

    @pace.counting
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, times: int = 1
    ) -> None:
        self._batches += times

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._judge_callbacks(trainer)

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._judge_callbacks(trainer)
        if not self._batches and trainer.global_step > self._steps_before:
            self.alarm(
                "not-called",
                f"{trainer.global_step - self._steps_before} steps were taken, but the callback's hook "
                "on_train_batch_end was never called",
                "Look for code between the Trainer and its callbacks that skips calls.",
            )
        self._callbacks = []

    def _judge_callbacks(self, trainer: TrainingView) -> None:
        now = list(trainer.callbacks)
        if len(now) == len(self._callbacks) and all(map(operator.is_, now, self._callbacks)):
            return
        gone = [type(one).__name__ for one in self._callbacks if not any(one is other for other in now)]
        self._callbacks = now
        if gone:
            self.alarm(
                "callback-gone",
                f"the callback {trainer_state.names(gone)} is missing from the Trainer, but was there when training "
                "started",
                "Look for code that assigns trainer.callbacks.",
            )


def _package_class(owner: Any, name: str) -> type:
    return next((cls for cls in type(owner).__mro__ if cls.__name__ == name), object)


def _almost_hooks(owner: Any, known: set[str], hooks: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return methods that are named nearly like a hook, with that hook; only ``hooks`` are considered if given."""
    found: list[tuple[str, str]] = []
    is_module = hasattr(owner, "training_step")
    defined, used = _own_methods(owner)
    for name in defined:
        if name in known or name in used or name.startswith("_"):
            continue
        if name in _REMOVED and not hooks:
            found.append((name, _REMOVED[name]))
            continue
        meant = _TAKEN_FOR.get(name) if is_module else None
        if not meant and (name.startswith("on_") or is_module or hooks):
            candidates = [*hooks] or ([*HOOKS, *_STEPS] if is_module else list(HOOKS))
            meant = next(iter(difflib.get_close_matches(name, candidates, 1, 0.9)), None)
        # A class that defines the real hook uses the other name for something else.
        if meant and meant not in defined:
            found.append((name, meant))
    return found


def _misnamed_validation(owner: Any) -> list[tuple[str, str]]:
    """Return methods that look like a validation loader under another name than the hook's."""
    defined, used = _own_methods(owner)
    return [(name, "val_dataloader") for name in defined if name in _TAKEN_FOR_VALIDATION and name not in used]


def _unmade(owner: Any) -> list[tuple[str, str]]:
    """Return methods of a datamodule that set up data but were not called: their attributes don't exist."""
    defined, used = _own_methods(owner)
    found = []
    for name, meant in _TAKEN_FOR_SETUP.items():
        if name not in defined or name in used or meant in defined:
            continue
        code = dis.get_instructions(defined[name])
        sets = {instruction.argval for instruction in code if instruction.opname == "STORE_ATTR"}
        if sets and not any(hasattr(owner, attribute) for attribute in sets):
            found.append((name, meant))
    return found


def _own_methods(owner: Any) -> tuple[dict[str, Any], set[str]]:
    """Return the methods of a user's own classes by name, and the names that they use."""
    own = [cls for cls in type(owner).__mro__ if not _stock(cls)]
    defined = {name: value for cls in reversed(own) for name, value in vars(cls).items() if inspect.isfunction(value)}
    return defined, {name for function in defined.values() for name in function.__code__.co_names}


def _stock(cls: type) -> bool:
    return packages.stock(cls) or cls.__module__.partition(".")[0] in ("builtins", "torch", "abc", "faultlab")

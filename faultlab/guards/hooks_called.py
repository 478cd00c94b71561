"""Methods that look like hooks are hooks, and the callbacks that were there at the beginning stay."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from faultlab.guards import readings
from faultlab.guards.guard import Action, Guard
from faultlab.guards.lightning import HOOKS

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


class HooksCalled(Guard):
    """Notices methods of the module and of callbacks that Lightning will never call, though they look like its hooks.

    Those are hooks that Lightning 2 removed, and names of their own classes that are all but the name of a hook. A
    method that the class itself calls somewhere is let pass. It also notices callbacks that are gone from the Trainer
    before the training is over, and batches of which it was not told itself.
    """

    checks = {
        "not-a-hook": "a method looks like a hook and is none",
        "callback-gone": "a callback is no longer among the Trainer's",
        "not-called": "the guard was told of no batch though steps were taken",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._callbacks: list[Any] = []
        self._batches = self._steps_before = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_callbacks": []}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._batches = 0
        self._callbacks = []
        known = set(dir(_package_class(pl_module, "LightningModule"))) | set(HOOKS)
        for owner in [pl_module, *(getattr(trainer, "callbacks", None) or [])]:
            found = _almost_hooks(owner, known if owner is pl_module else set(HOOKS))
            if found:
                name, meant = found[0]
                self.alarm(
                    "not-a-hook",
                    f"{type(owner).__name__}.{name} looks like a hook and is never called: Lightning knows {meant}",
                    f"Rename it to {meant}; a method that is meant for something else is better named otherwise.",
                )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._callbacks = list(getattr(trainer, "callbacks", None) or [])
        self._steps_before = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._batches += 1

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._judge_callbacks(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._judge_callbacks(trainer)
        if not self._batches and trainer.global_step > self._steps_before:
            self.alarm(
                "not-called",
                f"{trainer.global_step - self._steps_before} steps were taken, and the callback's hook "
                "on_train_batch_end was never called",
                "Is there something between the Trainer and its callbacks that leaves calls out?",
            )
        self._callbacks = []

    def _judge_callbacks(self, trainer: Any) -> None:
        now = list(getattr(trainer, "callbacks", None) or [])
        gone = [type(one).__name__ for one in self._callbacks if not any(one is other for other in now)]
        self._callbacks = now
        if gone:
            self.alarm(
                "callback-gone",
                f"the callback {readings.names(gone)} is missing from the Trainer, which it was among when training "
                "began",
                "Look for whoever writes to trainer.callbacks.",
            )


def _package_class(owner: Any, name: str) -> type:
    return next((cls for cls in type(owner).__mro__ if cls.__name__ == name), object)


def _almost_hooks(owner: Any, known: set[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    is_module = hasattr(owner, "training_step")
    own = [cls for cls in type(owner).__mro__ if not _stock(cls)]
    defined = {name: value for cls in reversed(own) for name, value in vars(cls).items() if inspect.isfunction(value)}
    used = {name for function in defined.values() for name in function.__code__.co_names}
    for name in defined:
        if name in known or name in used or name.startswith("_"):
            continue
        if name in _REMOVED:
            found.append((name, _REMOVED[name]))
            continue
        meant = _TAKEN_FOR.get(name) if is_module else None
        if not meant and (name.startswith("on_") or is_module):
            candidates = [*HOOKS, *_STEPS] if is_module else list(HOOKS)
            meant = next(iter(difflib.get_close_matches(name, candidates, 1, 0.9)), None)
        # Whoever has the real one too has the other for something else.
        if meant and meant not in defined:
            found.append((name, meant))
    return found


def _stock(cls: type) -> bool:
    package = cls.__module__.partition(".")[0]
    return package in ("builtins", "torch", "pytorch_lightning", "lightning", "lightning_fabric", "abc", "faultlab")

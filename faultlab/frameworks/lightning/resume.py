"""The use of a training's checkpoints: it continues from the last one and evaluates the best.

Faults of checkpoints have an effect only here. Such a run is a training that is interrupted midway, then one that is
resumed and trained to its end, then an evaluation of the best checkpoint, each with a freshly built target. The clean
twin does the same.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.base import using_checkpoint
from faultlab.frameworks.lightning import ranks
from faultlab.frameworks.lightning.target import Built

if TYPE_CHECKING:
    from faultlab.frameworks.lightning.training import LightningTraining

BuildAgain = Callable[[Mapping[str, Any]], Any]
"""Builds the target again, with some of the Trainer's arguments changed, as a LightningTraining."""


def with_checkpoints(arguments: dict[str, Any], namespace: Any, root: str, monitor: str, mode: str) -> dict[str, Any]:
    """Return the Trainer's arguments with a callback that keeps the best and the last checkpoint, if there is none."""
    callbacks = list(arguments["callbacks"])
    if not any(map(_keeps_best, callbacks)):
        best = {"monitor": monitor, "mode": mode} if monitor else {}
        folder = os.path.join(root, "checkpoints")
        callbacks.append(namespace.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, **best))
    # With checkpointing enabled, a Trainer adds a callback of its own package unless it finds one.
    enabled = any(isinstance(callback, namespace.callbacks.Checkpoint) for callback in callbacks)
    return {**arguments, "callbacks": callbacks, "enable_checkpointing": enabled}


def interruption(namespace: Any, epochs: int, notify: Callable[[], None]) -> Any:
    """Return a callback that ends a training midway through its epochs and reports that, unless it has one epoch."""

    class Interruption(namespace.Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch + 1 == epochs // 2:
                # Lightning would continue to the minimum of epochs and steps.
                trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
                trainer.should_stop = True
                notify()

    return Interruption()


def go_on(trainer: Any, epochs: int, build_again: BuildAgain) -> LightningTraining:
    """Continue from the last checkpoint in a fresh target, and return it. Let exceptions propagate.

    ``epochs`` are those of the uninterrupted training.
    """
    fresh: LightningTraining = build_again({} if epochs > 1 else _longer(trainer))
    resumed = fresh.trainer
    kept = _keeper(trainer)
    last = getattr(kept, "last_model_path", "") or getattr(kept, "best_model_path", "")
    resumed.fit(fresh.module, ckpt_path=last or "last", **trusting(resumed.fit), **fresh.built.fit)
    return fresh


def evaluate_best(trained: LightningTraining, trajectory: Trajectory, build_again: BuildAgain) -> None:
    """Evaluate the best checkpoint in a fresh module; add its metrics to ``trajectory``.

    Raise UnusableCheckpointError if that fails: the training itself goes on from its last checkpoint.

    With the training's data, as after a training: a data module need not support a set-up for validation alone.
    """
    fresh, fit, resumed = build_again({}), trained.built.fit, trained.trainer
    evaluated: Built = fresh.built
    data = {"datamodule": fit["datamodule"]} if "datamodule" in fit else _loaders(evaluated)
    best = getattr(_keeper(resumed), "best_model_path", "") or "best"
    # With shared parameters, a Trainer would load the best checkpoint's optimizer states into the trained module's.
    trainer = fresh.trainer if ranks.shares_parameters(resumed) else resumed
    with using_checkpoint():
        found = trainer.validate(evaluated.module, ckpt_path=best, verbose=False, **trusting(trainer.validate), **data)
    trajectory.reloaded = {str(name): float(value) for metrics in found for name, value in metrics.items()}


def _keeper(trainer: Any) -> Any:
    # One of the other Lightning package works too, but is not among the Trainer's ``checkpoint_callbacks``.
    return next(filter(_keeps_best, trainer.callbacks), None)


def _keeps_best(callback: Any) -> bool:
    """Return True if the callback keeps the best checkpoint; OnExceptionCheckpoint, for one, does not."""
    return hasattr(callback, "best_model_path")


def trusting(entry: Callable[..., Any]) -> dict[str, Any]:
    """Let torch load any content of the user's own checkpoint; older Lightning always does."""
    return {"weights_only": False} if "weights_only" in inspect.signature(entry).parameters else {}


def _loaders(built: Built) -> dict[str, Any]:
    loaders = built.fit.get("val_dataloaders")
    return {} if loaders is None else {"dataloaders": loaders}


def _longer(trainer: Any) -> dict[str, Any]:
    """Return arguments that give a finished training more to train."""
    if trainer.max_steps != -1:
        return {"max_steps": 2 * trainer.max_steps}
    return {"max_epochs": trainer.current_epoch + 1}

"""What a user does with the checkpoints of a training: goes on from the last one, and evaluates the best.

Faults of checkpoints bite only here. A run that is judged so is a training that is interrupted half-way, then one that
is resumed and trained to its end, then an evaluation of the best checkpoint, each on a target that is built anew. The
clean twin does the same.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.lightning.target import Built

if TYPE_CHECKING:
    from faultlab.frameworks.lightning.training import LightningTraining

BuildAgain = Callable[[Mapping[str, Any]], Any]
"""Builds the target anew with some of the Trainer's arguments changed, to a LightningTraining."""


def with_checkpoints(arguments: dict[str, Any], namespace: Any, root: str, monitor: str, mode: str) -> dict[str, Any]:
    """The Trainer's arguments with a callback that keeps the best and the last checkpoint, if it had none."""
    callbacks = list(arguments["callbacks"])
    if not any(map(_keeps_best, callbacks)):
        best = {"monitor": monitor, "mode": mode} if monitor else {}
        folder = os.path.join(root, "checkpoints")
        callbacks.append(namespace.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, **best))
    # Told to keep checkpoints, a Trainer that finds none of its own package's callbacks for it adds one.
    enabled = any(isinstance(callback, namespace.callbacks.Checkpoint) for callback in callbacks)
    return {**arguments, "callbacks": callbacks, "enable_checkpointing": enabled}


def interruption(namespace: Any, epochs: int, told: Callable[[], None]) -> Any:
    """A callback that ends a training half-way through its epochs and says so, but for one of a single epoch."""

    class Interruption(namespace.Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch + 1 == epochs // 2:
                # Lightning would go on to the fewest epochs and steps that it was asked for.
                trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
                trainer.should_stop = True
                told()

    return Interruption()


def go_on(trainer: Any, epochs: int, build_again: BuildAgain) -> LightningTraining:
    """Train on from the last checkpoint in a fresh target, which is returned. What goes wrong is raised.

    ``epochs`` are those of the uninterrupted training.
    """
    fresh: LightningTraining = build_again({} if epochs > 1 else _longer(trainer))
    resumed = fresh.trainer
    kept = _keeper(trainer)
    last = getattr(kept, "last_model_path", "") or getattr(kept, "best_model_path", "")
    resumed.fit(fresh.module, ckpt_path=last or "last", **_trusting(resumed.fit), **fresh.built.fit)
    return fresh


def evaluate_best(trained: LightningTraining, trajectory: Trajectory, build_again: BuildAgain) -> None:
    """Evaluates the best checkpoint in a fresh module; its metrics are added to ``trajectory``.

    By the data that the training had, as after a training: a data module need not know how to be set up for validation.
    """
    evaluated, fit, resumed = build_again({}).built, trained.built.fit, trained.trainer
    data = {"datamodule": fit["datamodule"]} if "datamodule" in fit else _loaders(evaluated)
    best = getattr(_keeper(resumed), "best_model_path", "") or "best"
    found = resumed.validate(evaluated.module, ckpt_path=best, verbose=False, **_trusting(resumed.validate), **data)
    trajectory.reloaded = {str(name): float(value) for metrics in found for name, value in metrics.items()}


def _keeper(trainer: Any) -> Any:
    # One of the other Lightning package works too, and is none of the Trainer's ``checkpoint_callbacks``.
    return next(filter(_keeps_best, trainer.callbacks), None)


def _keeps_best(callback: Any) -> bool:
    """Not every callback of Lightning's that writes checkpoints does: OnExceptionCheckpoint has one for the worst."""
    return hasattr(callback, "best_model_path")


def _trusting(entry: Callable[..., Any]) -> dict[str, Any]:
    """Has torch load whatever the user's own checkpoint holds; older Lightning always does."""
    return {"weights_only": False} if "weights_only" in inspect.signature(entry).parameters else {}


def _loaders(built: Built) -> dict[str, Any]:
    loaders = built.fit.get("val_dataloaders")
    return {} if loaders is None else {"dataloaders": loaders}


def _longer(trainer: Any) -> dict[str, Any]:
    """Arguments with which a training that is over has something left to train."""
    if trainer.max_steps != -1:
        return {"max_steps": 2 * trainer.max_steps}
    return {"max_epochs": trainer.current_epoch + 1}

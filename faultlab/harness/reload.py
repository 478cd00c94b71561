"""What a user does with the checkpoints of a training: evaluates the best one, and goes on from the last.

Faults of checkpoints bite only here. A run that is judged so is a training with checkpoints, then these two, each on a
target that is built anew; the clean twin does the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.harness.trajectory import Trajectory
from faultlab.target import Built

BuildAgain = Callable[[Mapping[str, Any]], "tuple[Built, Any]"]


def with_checkpoints(arguments: dict[str, Any], namespace: Any, root: str, monitor: str, mode: str) -> dict[str, Any]:
    """The Trainer's arguments with a callback that keeps the best and the last checkpoint, if it had none."""
    callbacks = list(arguments["callbacks"])
    if not any(isinstance(callback, namespace.callbacks.Checkpoint) for callback in callbacks):
        best = {"monitor": monitor, "mode": mode} if monitor else {}
        folder = os.path.join(root, "checkpoints")
        callbacks.append(namespace.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, **best))
    return {**arguments, "callbacks": callbacks, "enable_checkpointing": True}


def go_on(trainer: Any, trajectory: Trajectory, evaluates: bool, build_again: BuildAgain) -> tuple[Built, Any]:
    """Evaluates the best checkpoint and trains on from the last, in a fresh target; returns that and its Trainer.

    The findings are added to ``trajectory``; what goes wrong is raised.
    """
    kept = trainer.checkpoint_callback
    if evaluates:
        fresh, _ = build_again({})
        data = {"datamodule": fresh.fit["datamodule"]} if "datamodule" in fresh.fit else _loaders(fresh)
        found = trainer.validate(fresh.module, ckpt_path="best", verbose=False, **data)
        trajectory.reloaded = {str(name): float(value) for metrics in found for name, value in metrics.items()}
    fresh, resumed = build_again(_longer(trainer))
    last = getattr(kept, "last_model_path", "") or getattr(kept, "best_model_path", "")
    resumed.fit(fresh.module, ckpt_path=last or "last", **fresh.fit)
    return fresh, resumed


def _loaders(fresh: Built) -> dict[str, Any]:
    loaders = fresh.fit.get("val_dataloaders")
    return {} if loaders is None else {"dataloaders": loaders}


def _longer(trainer: Any) -> dict[str, Any]:
    if trainer.max_steps != -1:
        return {"max_steps": 2 * trainer.max_steps}
    return {"max_epochs": trainer.current_epoch + 1}

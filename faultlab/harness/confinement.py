"""Keeps what a run writes within the run's own folder: a faulted run must not write broken checkpoints over good ones.

Checkpoints and logs go to a folder of the same name below the run's. What the user's own code writes by itself stays
out of reach.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from faultlab.seams import lightning
from faultlab.seams.patching import Patches

_ELSEWHERE = "elsewhere"
_LOCAL = "file:"
# Where Lightning's loggers keep the folder that they were given.
_LOGGER_FOLDERS = ("_root_dir", "_save_dir", "_tracking_uri")


def confined(path: Any, root: str) -> str:
    """Where a run below ``root`` writes what was meant for ``path``, which may be an address of remote storage."""
    protocol, remote, rest = str(path).partition("://")
    if remote:
        return os.path.join(root, _ELSEWHERE, protocol, rest.lstrip("/"))
    whole = os.path.realpath(os.path.expanduser(path))
    if whole == os.path.realpath(root) or whole.startswith(os.path.realpath(root) + os.sep):
        return str(path)
    return os.path.join(root, _ELSEWHERE, os.path.splitdrive(whole)[1].lstrip(os.sep))


def confine(trainer: Any, root: str) -> None:
    """Points checkpoints, loggers and the profiler to below ``root``."""
    for owner in [*trainer.checkpoint_callbacks, trainer.profiler]:
        if getattr(owner, "dirpath", None):
            owner.dirpath = confined(owner.dirpath, root)
    for logger in trainer.loggers:
        for name in _LOGGER_FOLDERS:
            folder = vars(logger).get(name)
            if folder and str(folder).startswith(_LOCAL):
                setattr(logger, name, _LOCAL + confined(str(folder)[len(_LOCAL) :], root))
            elif folder and name != "_tracking_uri":
                _move(logger, name, confined(folder, root))
        started = vars(logger).get("_wandb_init")
        if isinstance(started, dict) and started.get("dir"):
            started["dir"] = confined(started["dir"], root)


def _move(logger: Any, name: str, folder: str) -> None:
    if folder != vars(logger)[name] and "_fs" in vars(logger):
        logger._fs = importlib.import_module("fsspec").filesystem("file")
    setattr(logger, name, folder)


def confine_saving(patches: Patches, root: Callable[[], str], saved_at: set[int]) -> None:
    """Has ``Trainer.save_checkpoint`` write below the run's folder whatever it is told, by the user's code too.

    The steps at which it does are added to ``saved_at``.
    """

    def make(save: Callable[..., Any]) -> Callable[..., Any]:
        def saving(trainer: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
            saved_at.add(int(trainer.global_step))
            return save(trainer, confined(filepath, root()), *args, **kwargs)

        return saving

    for namespace in lightning.loaded():
        patches.wrap(lightning.part(namespace, "trainer:Trainer"), "save_checkpoint", make)


def latecomers(namespace: Any, root: Callable[[], str]) -> Any:
    """A callback that confines those that the module brings by ``configure_callbacks``, which come when fit begins."""

    class Confining(namespace.Callback):  # type: ignore[misc]
        """Lightning sets callbacks up before those that write checkpoints."""

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            confine(trainer, root())

    return Confining()

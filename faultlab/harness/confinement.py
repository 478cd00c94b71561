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
_LOGGER_FOLDERS = ("_root_dir", "_save_dir")


def confined(path: Any, root: str) -> str:
    """Where a run below ``root`` writes what was meant for ``path``, which may be an address of remote storage."""
    protocol, remote, rest = str(path).partition("://")
    if remote:
        return os.path.join(root, _ELSEWHERE, protocol, rest.lstrip("/"))
    whole = os.path.realpath(os.path.expanduser(path))
    if whole == os.path.realpath(root) or whole.startswith(os.path.realpath(root) + os.sep):
        return str(path)
    return os.path.join(root, _ELSEWHERE, os.path.splitdrive(whole)[1].lstrip(os.sep))


def confine(patches: Patches, root: Callable[[], str], saved_at: set[int]) -> None:
    """Has every Trainer write below the folder that ``root`` gives, the user's own saving of checkpoints included.

    The steps at which checkpoints are saved are added to ``saved_at``.
    """

    def moving(attach: Callable[..., Any]) -> Callable[..., Any]:
        def attaching(connector: Any, *args: Any, **kwargs: Any) -> Any:
            attached = attach(connector, *args, **kwargs)
            move(connector.trainer, root())
            return attached

        return attaching

    def redirecting(save: Callable[..., Any]) -> Callable[..., Any]:
        def saving(trainer: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
            saved_at.add(int(trainer.global_step))
            return save(trainer, confined(filepath, root()), *args, **kwargs)

        return saving

    for namespace in lightning.loaded():
        # Those that the module brings come when a Trainer begins, just before callbacks are set up.
        connector = lightning.part(namespace, "trainer.connectors.callback_connector:_CallbackConnector")
        patches.wrap(connector, "_attach_model_callbacks", moving)
        patches.wrap(lightning.part(namespace, "trainer:Trainer"), "save_checkpoint", redirecting)


def move(trainer: Any, root: str) -> None:
    """Points the Trainer's checkpoints, loggers and profiler to below ``root``, where it would look for any too."""
    for owner in [*trainer.checkpoint_callbacks, trainer.profiler]:
        if getattr(owner, "dirpath", None):
            owner.dirpath = confined(owner.dirpath, root)
    for logger in trainer.loggers:
        for name in _LOGGER_FOLDERS:
            if folder := vars(logger).get(name):
                _move_logger(logger, name, str(folder), root)
        started = vars(logger).get("_wandb_init")
        if isinstance(started, dict) and started.get("dir"):
            started["dir"] = confined(started["dir"], root)
        uri = str(vars(logger).get("_tracking_uri"))
        if uri.startswith(_LOCAL):
            logger._tracking_uri = _LOCAL + confined(uri[len(_LOCAL) :], root)


def _move_logger(logger: Any, name: str, folder: str, root: str) -> None:
    moved = confined(folder, root)
    if moved != folder:
        setattr(logger, name, moved)
        if "_fs" in vars(logger):
            logger._fs = importlib.import_module("fsspec").filesystem("file")

"""Confinement of a run's files to the run's own folder: a faulted run must not overwrite good checkpoints.

Checkpoints and logs go to a folder of the same name below the run's, whatever callback writes them. Files that
Lightning does not manage go through an `Overlay`, which intercepts the file calls of the whole process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces, private_api
from faultlab.injection.loader_workers import fork_workers
from faultlab.sandbox.layers import confined
from faultlab.sandbox.overlay import Overlay

_LOCAL = "file:"
# The hooks that download or prepare data, once for all runs.
_PREPARING = {"prepare_data", "setup", "train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"}


def confine(patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
    """Let every Trainer and callback write below the folder that ``root`` returns.

    Args:
        patches: Undoes the changes.
        overlay: Lets new files through while data is prepared.
        root: Returns the current folder of the run.
        saved_at: Receives the step of each saved checkpoint.
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

    def removing(remove: Callable[..., Any]) -> Callable[..., Any]:
        return lambda strategy, filepath: remove(strategy, confined(filepath, root()))

    def preparing(call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(trainer: Any, hook_name: str, *args: Any, **kwargs: Any) -> Any:
            with overlay.preparing() if hook_name in _PREPARING else contextlib.nullcontext():
                return call(trainer, hook_name, *args, **kwargs)

        return calling

    # A worker that begins with a fresh interpreter has no overlay.
    fork_workers(patches)
    for namespace in namespaces.loaded():
        # The module's own callbacks are added when a Trainer begins, just before callbacks are set up.
        connector = private_api.part(namespace, private_api.CALLBACK_CONNECTOR)
        patches.wrap(connector, private_api.ATTACH_CALLBACKS, moving)
        patches.wrap(private_api.part(namespace, private_api.TRAINER), "save_checkpoint", redirecting)
        patches.wrap(private_api.part(namespace, private_api.STRATEGY), "remove_checkpoint", removing)
        calls = private_api.part(namespace, private_api.CALLS)
        for name in private_api.CALL_PREPARATIONS:
            patches.wrap(calls, name, preparing)


def move(trainer: Any, root: str) -> None:
    """Point the Trainer's checkpoints, loggers and profiler to below ``root``, both for writing and for reading."""
    # By their attributes, not by their class: those of the other Lightning package work as well.
    for owner in [*trainer.callbacks, trainer.profiler]:
        folder = getattr(owner, "dirpath", None)
        if isinstance(folder, (str, os.PathLike)) and (moved := confined(folder, root)) != str(folder):
            owner.dirpath = moved
            _forget_storage(owner)
    for logger in trainer.loggers:
        for name in private_api.LOGGER_FOLDERS:
            if (folder := vars(logger).get(name)) and (moved := confined(str(folder), root)) != str(folder):
                setattr(logger, name, moved)
                _forget_storage(logger)
        started = vars(logger).get(private_api.WANDB_SETTINGS)
        if isinstance(started, dict) and started.get("dir"):
            started["dir"] = confined(started["dir"], root)
        uri = str(vars(logger).get(private_api.TRACKING_URI))
        if uri.startswith(_LOCAL):
            setattr(logger, private_api.TRACKING_URI, _LOCAL + confined(uri[len(_LOCAL) :], root))


def named_folders(trainer: Any, module: Any) -> Iterator[str]:
    """Yield files and folders outside of the project that callbacks, loggers or the module's hyperparameters name."""
    given = [vars(owner) for owner in (*trainer.callbacks, *trainer.loggers) if hasattr(owner, "__dict__")]
    hparams = getattr(module, "hparams", None)
    for values in [*given, hparams] if isinstance(hparams, Mapping) else given:
        for value in values.values():
            if isinstance(value, (str, os.PathLike)) and os.path.isabs(value) and os.path.lexists(value):
                yield os.fspath(value)


def _forget_storage(owner: Any) -> None:
    """Let the owner of a moved folder use the local file system."""
    if private_api.FILE_SYSTEM in vars(owner):
        setattr(owner, private_api.FILE_SYSTEM, importlib.import_module("fsspec").filesystem("file"))

"""A training copied half-way: whether its process can be, and what the copy has to find in another folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from faultlab.core.asking import asked


def keep_files(root: str, place: object) -> str:
    """Copies what a trunk has written by now, and returns where to: it writes on, and tidies up at its end."""
    kept = f"{root}-at-{place}"
    if os.path.isdir(root):
        shutil.copytree(root, kept, dirs_exist_ok=True)
    return kept


def take_files(kept: str, root: str) -> None:
    """Puts what a trunk had written in the folder of a run that was born of it."""
    empty(root)
    if os.path.isdir(kept):
        shutil.copytree(kept, root, dirs_exist_ok=True)


def empty(folder: str) -> None:
    """Makes an empty folder: a run that was killed has left its own, and is repeated there."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)


def can_fork() -> bool:
    """A process with threads, live workers or a GPU in use can't be copied whole."""
    import torch

    on_gpu: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    native = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else [""]
    return threading.active_count() == len(native) == 1 and not active_children() and not on_gpu


def relocate(trainer: Any, old_root: str, new_root: str) -> None:
    """Points callbacks and loggers that were told to write under the trunk's folder to the victim's own."""
    for owner in [trainer, *trainer.callbacks, *trainer.loggers, *_experiments(trainer)]:
        for name, value in list(asked(owner, "__dict__", {}).items()):
            moved = _moved(value, old_root, new_root)
            if moved is not value:
                with contextlib.suppress(AttributeError):
                    setattr(owner, name, moved)


def _moved(value: Any, old_root: str, new_root: str) -> Any:
    if isinstance(value, (str, Path)):
        return type(value)(new_root + str(value)[len(old_root) :]) if str(value).startswith(old_root) else value
    if type(value) is dict:
        moved = {_moved(k, old_root, new_root): _moved(v, old_root, new_root) for k, v in value.items()}
        return moved if list(moved) != list(value) or any(moved[key] is not value[key] for key in value) else value
    return value


def _experiments(trainer: Any) -> Iterator[Any]:
    for logger in trainer.loggers:
        if (experiment := asked(logger, "_experiment")) is not None:
            yield experiment

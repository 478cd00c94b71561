"""A training copied half-way: whether its process can be, and the files that the copy has to find in its folder."""

from __future__ import annotations

import os
import shutil
import threading
from multiprocessing import active_children


def keep_files(root: str, place: object) -> str:
    """Copies what a snapshot run has written by now, and returns where to: it writes on, and tidies up at its end."""
    kept = f"{root}-at-{place}"
    if os.path.isdir(root):
        shutil.copytree(root, kept, dirs_exist_ok=True)
    return kept


def take_files(kept: str, root: str) -> None:
    """Puts what a snapshot run had written in the folder of a run that was born of it."""
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

"""Forks of a training midway: why its process can't be copied, and the files that the copy needs in its folder."""

from __future__ import annotations

import os
import shutil
import threading
from multiprocessing import active_children

from faultlab.ranks import membership, threads


def keep_files(root: str, place: object) -> str:
    """Copy what a snapshot run has written so far, because it will change and delete it; return the copy's path."""
    kept = f"{root}-at-{place}"
    if os.path.isdir(root):
        shutil.copytree(root, kept, dirs_exist_ok=True)
    return kept


def take_files(kept: str, root: str) -> None:
    """Put the files that a snapshot run had written into the folder of a run that was forked from it."""
    empty(root)
    if os.path.isdir(kept):
        shutil.copytree(kept, root, dirs_exist_ok=True)


def empty(folder: str) -> None:
    """Make an empty folder: a killed run leaves its own, and is repeated there."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)


WORKERS = "its loader's workers are alive"
"""The obstacle that needs no explanation: every epoch of such a loader has it."""


def obstacle() -> str:
    """Return why the process can't be copied whole: live workers, threads or a GPU in use. Empty if it can be."""
    import torch

    if active_children():
        return WORKERS
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return "it uses a GPU"
    if threading.active_count() > 1:
        own = threading.current_thread()
        names = dict.fromkeys(thread.name for thread in threading.enumerate() if thread is not own)
        return f"threads run beside it: {', '.join(names)}"
    if membership.present() is not None and not threads.rest():
        return "its process group still exchanges values"
    native = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    if membership.present() is not None:
        # A rank that is forked meets the others in a new process group, which has threads of its own.
        native -= threads.of_gloo()
    return "" if native == 1 else f"a library runs {native - 1} thread{'s' * (native > 2)} of its own beside it"

"""Two processes that train together: a script's ``train`` does its work as rank 0, and a fork of it as rank 1."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist

WORLD = 2
_PATIENCE = timedelta(seconds=30)


def together(work: Callable[[int], Any]) -> Any:
    """Run a function with its rank in this process and in a fork, in one group; return what it returns here.

    The fork ends with the function, whatever becomes of it, and is killed if this process leaves first.
    """
    folder = tempfile.mkdtemp(prefix="ranks-")
    child = os.fork()
    if child == 0:
        try:
            _join(1, folder)
            work(1)
            dist.destroy_process_group()
        finally:
            os._exit(0)
    try:
        _join(0, folder)
        return work(0)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)


def _join(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD, timeout=_PATIENCE
    )

"""Several ranks that train together, forked from this process: for guards in trainings as users have them."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from faultlab.ranks import membership
from tests.guards.rig import QUIET, Healthy, loaders


class Synced(Healthy):
    """Averages its metrics over the ranks."""

    def log(self, *args: Any, **options: Any) -> None:
        super().log(*args, **{"sync_dist": True, **options})

    def log_dict(self, *args: Any, **options: Any) -> None:
        super().log_dict(*args, **{"sync_dist": True, **options})


def gang(work: Callable[[], Any], ranks: int = 2, patience: float = 20.0, deadline: float = 120.0) -> list[Any]:
    """Return what the work comes to on each rank; the text of its exception, where it raised one.

    A collective waits for as long as ``patience``. A rank that is not ready by the deadline is killed, and its result
    is None.
    """
    with tempfile.TemporaryDirectory() as folder:
        begun, pids = time.monotonic(), [_forked(work, rank, ranks, patience, Path(folder)) for rank in range(ranks)]
        for pid in pids:
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() - begun > deadline:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.005)
        files = [Path(folder, f"result-{rank}") for rank in range(ranks)]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


def _forked(work: Callable[[], Any], rank: int, ranks: int, patience: float, folder: Path) -> int:
    sys.stdout.flush(), sys.stderr.flush()
    if pid := os.fork():
        return pid
    try:
        membership.enter(rank, ranks)
        store = dist.FileStore(str(folder / "meeting"), ranks)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=patience))
        try:
            result: Any = work()
        except BaseException as error:
            traceback.print_exc()
            result = f"{type(error).__name__}: {error}"
        (folder / "written").with_suffix(f".{rank}").write_bytes(pickle.dumps(result))
        (folder / "written").with_suffix(f".{rank}").rename(folder / f"result-{rank}")
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)


def fit(callbacks: Any, module: Any = None, train: Any = None, validation: Any = None, **trainer: Any) -> pl.Trainer:
    """Train as a rank of a gang, from seed 0."""
    torch.manual_seed(0)
    usual = loaders()
    arguments = {"max_epochs": 2, **QUIET, "callbacks": callbacks, **trainer}
    made = pl.Trainer(strategy="ddp", devices=dist.get_world_size(), **arguments)
    made.fit(
        Healthy() if module is None else module,
        usual[0] if train is None else train,
        usual[1] if validation is None else validation,
    )
    return made

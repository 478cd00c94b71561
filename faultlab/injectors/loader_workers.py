"""loader: failure modes of the worker processes that load the batches."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy

from faultlab.catalogue.injection_points import LoaderArguments, Process
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading


@failure_mode(
    "loader.worker-killed",
    seam=Process(worker=True),
    severity="minor",
    effect="raises",
    cause=("worker", "killed", "signal"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("pytorch/pytorch#8976", "Lightning-AI/pytorch-lightning#19302"),
)
def killed_worker(nothing: None, ctx: Context) -> None:
    """The operating system kills a worker of the loader, for example because memory runs out.

    Effect: training ends with a `RuntimeError`: DataLoader worker is killed by signal, or exited unexpectedly.
    Why it goes undetected: it does not go undetected, but the message does not state what killed the worker, or why.
    Example:
        DataLoader(dataset, num_workers=64)     # each with a copy of the index
    Remedy: use fewer workers, or less memory in each: arrays instead of lists of Python objects. Resume from a
    checkpoint.
    """
    os.kill(os.getpid(), signal.SIGKILL)


@failure_mode(
    "loader.worker-exits",
    seam=Process(worker=True),
    severity="minor",
    effect="raises",
    cause=("worker", "exited"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("Lightning-Universe/lightning-flash#896", "xuebinqin/BASNet#32"),
)
def exiting_worker(nothing: None, ctx: Context) -> None:
    """A worker of the loader exits without an exception that could reach the main process.

    Effect: training ends with a `RuntimeError`: DataLoader worker exited unexpectedly.
    Why it goes undetected: it does not go undetected, but there is no information about what happened in the worker.
    Example:
        decoder.open(path)      # a library that calls exit() for a broken file
    Remedy: load the data once with `num_workers=0`, where the library's own message is visible.
    """
    os._exit(1)


@failure_mode(
    "loader.worker-raises",
    seam=Process(worker=True),
    severity="minor",
    effect="raises",
    cause=("worker", "open files"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("liutinglt/CE2P#18", "Suanmd/TR-MISR#7"),
)
def raising_worker(nothing: None, ctx: Context) -> None:
    """A worker of the loader raises an exception that the main process would not: too many open files.

    Effect: the main process raises the exception again, with the note that it was caught in DataLoader worker process
    0, and training ends.
    Why it goes undetected: it does not go undetected, but with `num_workers=0`, as under a debugger, there is no error.
    Example:
        def __init__(self):
            self.file = h5py.File(path)         # opened once, and shared by all workers
    Remedy: open files in the worker, at the first item; test the loader with workers, too.
    """
    raise ctx.intended(OSError(24, "Too many open files"))


@failure_mode(
    "loader.workers-share-seed",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("seed", "worker", "augment", "random"),
    needs=("several-workers",),
    evidence=("pytorch/pytorch#5059", "facebookresearch/fairseq#1383"),
)
def shared_seed(loading: Loading, ctx: Context) -> Loading:
    """NumPy draws the same random numbers in every worker, because all workers are copies of one process.

    Effect: no error or warning is raised. Samples of different workers get the same augmentations, and get them again
    in every epoch as long as the main process draws nothing. Before version 1.9, torch behaved this way; any generator
    that a dataset keeps still does. Data without such random numbers is not affected.
    Why it goes undetected: each sample looks well augmented; the repetition shows only side by side.
    Example:
        self.random = np.random.default_rng(0)      # in __init__ of the dataset: every worker has a copy
    Remedy: seed a generator in the worker from `torch.initial_seed()`; or call `pl.seed_everything(seed,
    workers=True)`.
    """
    state, own = numpy.random.get_state(), loading.worker_init_fn

    def init(worker: int) -> None:
        if own is not None:
            own(worker)
        numpy.random.set_state(state)

    return replace(loading, worker_init_fn=init)

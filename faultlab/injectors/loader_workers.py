"""loader: what becomes of the worker processes that bring the batches."""

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
    """The operating system kills a worker of the loader, for want of memory for instance.

    Effect: the training ends in a RuntimeError: DataLoader worker is killed by signal, or exited unexpectedly.
    Why it goes undetected: it does not; but the message does not say who killed it, or why.
    Example:
        DataLoader(dataset, num_workers=64)     # each with a copy of the index
    Remedy: fewer workers, or less in each: arrays in place of lists of Python objects. Resume from a checkpoint.
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
    """A worker of the loader exits, without an exception that could be told to the main process.

    Effect: the training ends in a RuntimeError: DataLoader worker exited unexpectedly.
    Why it goes undetected: it does not; but nothing says what happened in the worker.
    Example:
        decoder.open(path)      # a library that calls exit() where a file is broken
    Remedy: load the data once with `num_workers=0`, where the library's own message is seen.
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
    """A worker of the loader raises what it would not raise in the main process: here, too many open files.

    Effect: the exception is raised again in the main process, caught in DataLoader worker process 0, and ends the
    training.
    Why it goes undetected: it does not; but with `num_workers=0`, as under a debugger, all is well.
    Example:
        def __init__(self):
            self.file = h5py.File(path)         # opened once, and shared by all workers
    Remedy: open files in the worker, at the first item; test the loader with workers too.
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
    """NumPy draws the same random numbers in every worker, for all are copies of one process.

    Effect: training is silent. Samples of different workers are augmented alike, and alike again in every epoch as long
    as the main process draws nothing. It was so with torch before 1.9 and is still for any generator that a dataset
    keeps; data without such numbers is not affected.
    Why it goes undetected: each sample looks well augmented; only side by side are they alike.
    Example:
        self.random = np.random.default_rng(0)      # in __init__ of the dataset: every worker has a copy
    Remedy: seed a generator in the worker from `torch.initial_seed()`; or `pl.seed_everything(seed, workers=True)`.
    """
    state, own = numpy.random.get_state(), loading.worker_init_fn

    def init(worker: int) -> None:
        if own is not None:
            own(worker)
        numpy.random.set_state(state)

    return replace(loading, worker_init_fn=init)

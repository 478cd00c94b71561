"""process: what happens to the process that trains."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import torch

from faultlab.catalogue.injection_points import Process
from faultlab.core import resource_limits
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode

_MORE_THAN_THERE_IS = 1 << 42


@failure_mode(
    "process.killed",
    seam=Process,
    severity="minor",
    effect="raises",
    cause=("killed", "sigkill", "signal", "memory"),
    when="middle",
    needs=("posix",),
    evidence=("CharlesShang/FastMaskRCNN#172", "Lightning-AI/pytorch-lightning#1590"),
)
def kill(_: None, ctx: Context) -> None:
    """The process is killed, as Linux does when memory runs out.

    Effect: it ends at once with SIGKILL, and no hook, no `finally` and no `on_exception` runs: what was not saved
    before is lost.
    Why it goes undetected: it does not where the exit status is looked at; there is no traceback and no line in the
    log.
    Example: an out-of-memory killer; a container over its limit.
    Remedy: save checkpoints often enough that you can afford to lose what came after; look at exit statuses.
    """
    os.kill(os.getpid(), signal.SIGKILL)


@failure_mode(
    "process.terminated",
    seam=Process,
    severity="major",
    effect="silent",
    cause=("terminat", "sigterm", "signal"),
    when="middle",
    needs=("posix",),
    evidence=("Lightning-AI/pytorch-lightning#19916", "Lightning-AI/pytorch-lightning#21623"),
)
def terminate(_: None, ctx: Context) -> None:
    """The process is asked to end by SIGTERM, as schedulers and containers do.

    Effect: Lightning finishes the step, calls the `on_exception` hooks and raises SIGTERMException, a SystemExit
    without a code: the process exits with status 0 in the middle of the training.
    Why it goes undetected: status 0 means success to the shell, to `make` and to the job after this one.
    Example:
        scancel $SLURM_JOB_ID && ./evaluate.sh      # of what was saved last
    Remedy: have the script look whether the last epoch was reached, and exit with another status if not.
    """
    os.kill(os.getpid(), signal.SIGTERM)


@failure_mode(
    "process.segfault",
    seam=Process,
    severity="minor",
    effect="raises",
    cause=("segmentation", "sigsegv", "signal", "crash"),
    when="middle",
    needs=("posix",),
    evidence=("pytorch/pytorch#80802", "pytorch/pytorch#184062"),
)
def crash(_: None, ctx: Context) -> None:
    """The process reads from an address that is not its own.

    Effect: it ends at once with SIGSEGV, and no hook, no `finally` and no `on_exception` runs: what was not saved
    before is lost.
    Why it goes undetected: it does not where the exit status is looked at; there is no Python traceback unless
    `faulthandler` is on.
    Example: a compiled extension of another torch version; an index out of range in native code; memory that fails.
    Remedy: run with `python -X faulthandler`; save checkpoints often.
    """
    resource_limits.no_core()
    ctypes.string_at(0)


@failure_mode(
    "process.out-of-memory",
    seam=Process,
    severity="minor",
    effect="raises",
    cause=("memory", "allocat"),
    when="middle",
    needs=("posix",),
    evidence=("Lightning-AI/pytorch-lightning#12874", "open-edge-platform/anomalib#270"),
)
def exhaust_memory(_: None, ctx: Context) -> None:
    """There is not enough memory for a tensor.

    Effect: torch raises, a RuntimeError on the CPU and OutOfMemoryError on a GPU, and it leaves `fit` as it is.
    Why it goes undetected: it does not; but it comes with the longest batch, or with the memory that something holds on
    to, hours after the start.
    Example:
        self.outputs.append(output)                 # for the epoch's end, with the graph of every batch
    Remedy: try the largest batch first; keep `output.detach().cpu()`.
    """
    with resource_limits.remembered():
        resource_limits.fill_memory()
        try:
            torch.empty(_MORE_THAN_THERE_IS, dtype=torch.uint8, device=ctx.module.device)
        except RuntimeError as error:
            raise ctx.intended(error) from None


@failure_mode(
    "process.hangs",
    seam=Process,
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "deadline", "watchdog"),
    when="middle",
    hangs=True,
    evidence=("Lightning-AI/pytorch-lightning#8355", "Lightning-AI/pytorch-lightning#11034"),
)
def hang(_: None, ctx: Context) -> None:
    """The process waits for something that never comes.

    Effect: nothing happens any more. Lightning has no deadline for a step; only the deadline that the run was given
    from outside ends it.
    Why it goes undetected: the process is there, its memory is taken, and the progress bar stands where it stood.
    Example:
        with self.lock:                             # which a thread took that is gone
            self.cache.update(batch)
    Remedy: a watchdog that ends the process if no step is done for so many minutes; alarms on a log that stands still.
    """
    while True:
        time.sleep(60)


@failure_mode(
    "process.disk-full",
    seam=Process,
    severity="major",
    effect="raises",
    cause=("space", "disk", "quota", "too large"),
    when="middle",
    needs=("posix", "no-workers"),
    evidence=("ray-project/ray#23674", "instructlab/training#525"),
    judged_by="reload",
)
def fill_disk(_: None, ctx: Context) -> None:
    """The disk is full from one step on.

    A limit on the size of this process's files stands for the disk: nothing that it writes from then on has room.

    Effect: training goes on until something is written: a logger's file or a checkpoint. There the OSError leaves `fit`
    as it is (`File too large` here, `No space left on device` on a real disk).
    Why it goes undetected: until then all is well; and what could say so has no room for it in its log.
    Example: checkpoints, logs and caches of all the runs before.
    Remedy: check the free space before training and before each save; let loggers fail without ending the training.
    """
    resource_limits.fill_disk()

"""process: failure modes of the training process."""

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

    Effect: it ends immediately with SIGKILL, without running any hook, any `finally` or `on_exception`, and everything
    that was not saved before is lost.
    Why it goes undetected: it does not go undetected if the exit status is checked, but there is no traceback and no
    line in the log.
    Example: an out-of-memory killer; a container over its limit.
    Remedy: save checkpoints often enough that you can afford to lose the work after the last one; check exit statuses.
    """
    os.kill(os.getpid(), signal.SIGKILL)


@failure_mode(
    "process.terminated",
    seam=Process,
    severity="major",
    # Lightning 2.7 gives its SystemExit the code 143; a process without a handler of the signal ends by it.
    effect={"lightning": "silent", "lightning>=2.7": "raises", "torch": "raises"},
    cause=("terminat", "sigterm", "signal"),
    when="middle",
    needs=("posix",),
    evidence=("Lightning-AI/pytorch-lightning#19916", "Lightning-AI/pytorch-lightning#21623"),
)
def terminate(_: None, ctx: Context) -> None:
    """The process receives SIGTERM, as schedulers and containers send it.

    Effect: Lightning finishes the step, calls the `on_exception` hooks and raises SIGTERMException, a SystemExit.
    Before Lightning 2.7 it has no code, so the process exits with status 0 in the middle of training; from 2.7 on it
    exits with status 143. A plain PyTorch loop is killed by the signal.
    Why it goes undetected: status 0 means success to the shell, to `make` and to the next job.
    Example:
        scancel $SLURM_JOB_ID && ./evaluate.sh      # evaluates the last checkpoint
    Remedy: have the script check that the last epoch was reached, and exit with another status if not.
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
    """The process reads from an address that does not belong to it.

    Effect: it ends immediately with SIGSEGV, without running any hook, any `finally` or `on_exception`, and everything
    that was not saved before is lost.
    Why it goes undetected: it does not go undetected if the exit status is checked, but there is no Python traceback
    unless `faulthandler` is enabled.
    Example: a compiled extension for another torch version; an index out of range in native code; faulty memory.
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

    Effect: torch raises a `RuntimeError` on the CPU and an `OutOfMemoryError` on a GPU, which propagates out of `fit`
    unchanged.
    Why it goes undetected: it does not go undetected, but it occurs with the longest batch, or with memory that is
    never released, hours after the start.
    Example:
        self.outputs.append(output)                 # for the epoch's end, with the graph of every batch
    Remedy: try the largest batch first; store `output.detach().cpu()`.
    """
    with resource_limits.remembered():
        resource_limits.fill_memory()
        try:
            torch.empty(_MORE_THAN_THERE_IS, dtype=torch.uint8, device=next(ctx.module.parameters()).device)
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
    """The process waits for something that never happens.

    Effect: the run makes no more progress. Lightning has no deadline for a step; only a deadline that was set from
    outside ends the run.
    Why it goes undetected: the process exists, its memory is allocated, and the progress bar stays where it was.
    Example:
        with self.lock:                             # taken by a thread that has ended
            self.cache.update(batch)
    Remedy: use a watchdog that ends the process if no step completes within some minutes; raise an alarm if the log
    stops growing.
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

    A limit on the size of this process's files simulates the full disk: from that step on, nothing that the process
    writes has room.

    Effect: training continues until a logger or a checkpoint writes a file. Then the `OSError` propagates out of `fit`
    unchanged (`File too large` here, `No space left on device` on a real disk).
    Why it goes undetected: until then everything works, and a report of the problem has no room in the log either.
    Example: checkpoints, logs and caches of all the previous runs.
    Remedy: check the free space before training and before each save; let loggers fail without ending the training.
    """
    resource_limits.fill_disk()

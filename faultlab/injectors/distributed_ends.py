"""distributed: failure modes in which one rank ends, or the others wait for it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from faultlab.catalogue.injection_points import Process, StepCall, StepOutput
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "distributed.rank-raises",
    seam=StepCall("training_step"),
    severity="minor",
    effect="raises",
    cause=("rank", "training_step", "step raised", "step failed"),
    when="middle",
    on_rank=1,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#8130",),
)
def raise_on_one_rank(call: Call, ctx: Context) -> Any:
    """`training_step` raises an exception on one rank.

    Effect: that rank's process ends; with gloo, the others raise a `RuntimeError` about a closed connection in their
    next collective. With nccl they wait for the timeout of the process group.
    Why it goes undetected: it does not go undetected, but the traceback that is read first is often that of another
    rank.
    Example:
        spectrum = batch[0].reshape(-1, 2)      # the one empty spectrum of a million, on one rank
    Remedy: read the first error of all ranks by time; use a launcher that ends all ranks when one fails.
    """
    raise ctx.intended(RuntimeError("injected by distributed.rank-raises: this rank's batch cannot be processed"))


@failure_mode(
    "distributed.rank-exits-zero",
    seam=Process,
    severity="major",
    effect="raises",
    cause=("rank", "exit", "closed by peer"),
    when="middle",
    on_rank=1,
    needs=("several-ranks", "posix"),
    evidence=("Lightning-AI/pytorch-lightning#6430", "ai2cm/ace#1067"),
)
def exit_on_one_rank(_: None, ctx: Context) -> None:
    """The process of one rank exits with status 0 in the middle of the training.

    Effect: with gloo, the others raise a `RuntimeError` about a closed connection in their next collective; with nccl
    they wait for the timeout of the process group. Lightning's launcher does not end them, because it reacts to exit
    statuses other than 0.
    Why it goes undetected: status 0 means success to the launcher.
    Example:
        sys.exit()                              # in a handler of a signal that only one rank received
    Remedy: let the launcher treat a rank that ends before the others as failed; set a short timeout for collectives.
    """
    os._exit(0)


@failure_mode(
    "distributed.rank-killed",
    seam=Process,
    severity="minor",
    effect="raises",
    cause=("rank", "killed", "sigkill", "closed by peer"),
    when="middle",
    on_rank=1,
    needs=("several-ranks", "posix"),
    evidence=("NVIDIA/DALI#585", "pytorch/pytorch#147064"),
)
def kill_one_rank(_: None, ctx: Context) -> None:
    """The process of one rank is killed, as Linux does when memory runs out.

    Effect: with gloo, the others raise a `RuntimeError` about a closed connection in their next collective. With nccl
    they wait for the timeout of the process group.
    Why it goes undetected: it does not go undetected if the exit statuses of all ranks are checked.
    Example: an out-of-memory killer on one of several machines.
    Remedy: use a launcher that ends all ranks when one fails, and save checkpoints often.
    """
    os.kill(os.getpid(), signal.SIGKILL)


@failure_mode(
    "distributed.rank-hangs",
    seam=Process,
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks",),
    evidence=("pytorch/pytorch#97191", "pytorch/pytorch#46874"),
)
def hang_on_one_rank(_: None, ctx: Context) -> None:
    """One rank stops in the middle of a training step, and all others wait for it.

    Effect: the others wait in the next collective until the timeout of the process group: 1,800 s by default, after
    which gloo raises a `RuntimeError`.
    Why it goes undetected: every process is alive, and devices that wait look busy.
    Example: a deadlock in a loader, a file system that does not answer, a debugger that waits for input on one rank.
    Remedy: set a short timeout for collectives (`DDPStrategy(timeout=...)`), and watch the progress from outside.
    """
    while True:
        time.sleep(3600)


@failure_mode(
    "distributed.stop-on-one-rank",
    seam=StepCall("on_train_batch_end"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#379",),
)
def stop_on_one_rank(call: Call, ctx: Context) -> Any:
    """One rank decides to stop the training, and the others continue.

    Effect: that rank leaves the training loop for the collectives of its end, while the others are in those of the next
    step. If their sizes differ, gloo aborts a rank with SIGABRT; else it mixes values that do not belong together, or
    the ranks wait until the timeout of the process group: 1,800 s by default.
    Why it goes undetected: each rank does what it was told, and the error names a connection instead of the decision.
    Example:
        trainer.should_stop = val_loss > best   # val_loss of this rank's share of the data
    Remedy: decide on all ranks together: `should_stop = trainer.strategy.reduce_boolean_decision(...)`.
    """
    ctx.trainer.should_stop = True
    return None


@failure_mode(
    "distributed.none-on-one-rank",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("none", "rank", "closed by peer"),
    when="middle",
    on_rank=1,
    needs=("several-ranks", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#5243", "Lightning-AI/pytorch-lightning#19918"),
)
def return_none_on_one_rank(output: Any, ctx: Context) -> None:
    """`training_step` returns None on one rank, to skip a batch.

    Effect: Lightning raises a `RuntimeError` on that rank, because the others wait for its gradients; with gloo, they
    raise one about a closed connection.
    Why it goes undetected: on one device the batch is skipped with a warning, which is often intended, so that the code
    fails only on several.
    Example:
        if not torch.isfinite(loss):
            return None
    Remedy: return a loss of zero that depends on all parameters, or skip on all ranks together.
    """
    return

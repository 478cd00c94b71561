"""distributed: failure modes in which the ranks do not call the same collectives with the same arguments."""

from __future__ import annotations

import os
from typing import Any

import torch

from faultlab.catalogue.injection_points import Collective, StepCall
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "distributed.collective-on-rank-zero",
    seam=StepCall("on_train_batch_end"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer"),
    when="middle",
    on_rank=0,
    hangs=True,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#16541",),
)
def gather_on_first_rank(call: Call, ctx: Context) -> Any:
    """Rank 0 gathers values that the other ranks do not send.

    Effect: rank 0 waits in `all_gather`, while the others are in the collectives of the next step. With gloo, values
    that do not belong together are mixed, or a rank aborts, or the ranks wait for the timeout of 1,800 s.
    Why it goes undetected: the condition is meant to save work, and on one device it is always true.
    Example:
        if self.trainer.is_global_zero:
            scores = self.all_gather(scores)
    Remedy: call collectives on all ranks, and put only the use of the result under the condition.
    """
    call()
    return ctx.trainer.strategy.all_gather(torch.ones(1))


@failure_mode(
    "distributed.checkpoint-on-rank-zero",
    seam=StepCall("on_train_batch_end"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "checkpoint"),
    when="middle",
    on_rank=0,
    hangs=True,
    needs=("several-ranks",),
    evidence=("ray-project/ray#56997",),
)
def save_on_first_rank(call: Call, ctx: Context) -> Any:
    """Only rank 0 calls `Trainer.save_checkpoint`.

    Effect: the checkpoint is written, and rank 0 then waits in the barrier at its end, which the other ranks never
    enter: with gloo until the timeout of 1,800 s.
    Why it goes undetected: the file is there, and in plain torch only rank 0 has to save.
    Example:
        if self.trainer.is_global_zero:
            self.trainer.save_checkpoint("last.ckpt")
    Remedy: call `save_checkpoint` on all ranks; Lightning lets only rank 0 write.
    """
    call()
    path = os.path.join(ctx.trainer.default_root_dir, "on-rank-zero.ckpt")
    ctx.trainer.save_checkpoint(path)
    return path


@failure_mode(
    "distributed.log-on-rank-zero",
    seam=StepCall("on_train_batch_end"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "log", "sync_dist"),
    when="middle",
    on_rank=0,
    hangs=True,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#19056", "dvl-tum/center-group#2"),
)
def log_on_first_rank(call: Call, ctx: Context) -> Any:
    """Rank 0 logs a value with `sync_dist=True` that the other ranks do not log.

    Effect: rank 0 waits in the barrier before the metric's all-reduce, while the others are in the collectives of the
    next step: with gloo until the timeout of 1,800 s.
    Why it goes undetected: the value of rank 0 is wanted only once, and `sync_dist` looks like a safe default.
    Example:
        if self.global_rank == 0:
            self.log("grad_norm", norm, sync_dist=True)
    Remedy: log on all ranks, or log on rank 0 with `rank_zero_only=True` and without `sync_dist`.
    """
    call()
    name = "logged_on_rank_zero"
    ctx.module.log(name, torch.ones(()), on_step=True, on_epoch=False, sync_dist=True)
    return name


@failure_mode(
    "distributed.collective-divergent",
    seam=Collective(called="broadcast"),
    severity="major",
    effect="raises",
    cause=(
        "hang",
        "stuck",
        "timeout",
        "timed out",
        "deadline",
        "rank",
        "closed by peer",
        "differ",
        "diverge",
        "root",
        "source",
    ),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks",),
    evidence=("verl-project/verl#1482", "lightseekorg/tokenspeed#786"),
)
def broadcast_from_oneself(call: Call, ctx: Context) -> Any:
    """The ranks call the same collective with different arguments: each names itself as the source of a broadcast.

    Effect: each rank sends its own values and keeps them.
    Why it goes undetected: all ranks enter and leave the collective.
    Example:
        dist.broadcast(tensor, src=dist.get_rank())     # the rank of this process, for that of the owner
    Remedy: run once with TORCH_DISTRIBUTED_DEBUG=DETAIL, and compare a digest of what was broadcast.
    """
    tensors, options = ctx.memory["collective"].arguments
    options.rootRank = ctx.rank
    return call(tensors, options)


@failure_mode(
    "distributed.collective-size-mismatch",
    seam=Collective("gradients"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "size", "length", "shape"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#7773", "modelscope/ms-swift#9443", "NVIDIA/nccl#1417"),
)
def send_less(call: Call, ctx: Context) -> Any:
    """One rank takes part in an all-reduce with fewer values than the others.

    Effect: gloo compares lengths when data arrives, and the rank that gets more than it expects aborts or raises. With
    nccl the ranks may wait, or continue with wrong values at the end of the tensor.
    Why it goes undetected: nothing compares shapes before the data is sent, and the error names bytes, not tensors.
    Example:
        dist.all_reduce(losses)                 # one value for each sample of this rank's batch
    Remedy: reduce values of a fixed size, such as a sum and a count; run once with TORCH_DISTRIBUTED_DEBUG=DETAIL.
    """
    tensors, options = ctx.memory["collective"].arguments
    return call([tensor.flatten()[: tensor.numel() // 2] for tensor in tensors], options)


@failure_mode(
    "distributed.barrier-missing",
    seam=Collective(called="barrier"),
    severity="minor",
    effect="silent",
    cause=("barrier", "race", "not exist", "incomplete", "rank"),
    stages=("train", "validate"),
    needs=("several-ranks",),
    evidence=("KempnerInstitute/KempnerForge#50",),
)
def skip_barrier(call: Call, ctx: Context) -> Any:
    """The ranks do not wait for each other where one writes what the others read.

    Effect: whether a rank reads a complete file, an old one or none depends on luck. No error or warning is raised as
    long as the writer is fast.
    Why it goes undetected: on a local disk the writer almost always wins.
    Example:
        if rank == 0:
            download(path)                      # no barrier before the others open the path
    Remedy: put a barrier between the writing and the reading, and write to a temporary name that is renamed.
    """
    return ctx.memory["collective"].skipped()

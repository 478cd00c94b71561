"""distributed: failure modes in which one rank leaves out what the others wait for."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch

from faultlab.catalogue.injection_points import Backward, Loader, Loss
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Stream


@failure_mode(
    "distributed.oom-skipped",
    seam=Backward,
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "memory"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks", "replicated", "automatic-optimization"),
    evidence=("pytorch/pytorch#44353",),
)
def skip_after_memory_error(call: Call, ctx: Context) -> Any:
    """One rank runs out of memory in the backward, catches the error and skips the batch.

    Effect: some of its gradients were shared before the error and the others never are. The other ranks wait for them
    in the all-reduce, while this one is ahead in the collectives of the next batch. With gloo, values that do not
    belong together are mixed, or a rank aborts, or the ranks wait for the timeout of 1,800 s.
    Why it goes undetected: on one device, the same handler works.
    Example:
        try:
            loss.backward()
        except torch.OutOfMemoryError:
            optimizer.zero_grad()               # on this rank only
    Remedy: decide on all ranks together whether a batch is skipped, and end the training if a backward fails midway.
    """
    trained = [parameter for parameter in ctx.module.parameters() if parameter.requires_grad]

    def out_of_memory(gradient: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("injected by distributed.oom-skipped")

    handle = trained[len(trained) // 2].register_hook(out_of_memory)
    try:
        return call()
    except torch.OutOfMemoryError:
        for parameter in trained:
            parameter.grad = None
        return None
    finally:
        handle.remove()


@failure_mode(
    "distributed.zero-loss-on-one-rank",
    seam=Loss,
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "loss", "graph", "constant"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#12190",),
)
def return_constant(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """One rank returns a constant zero as its loss, because its batch has nothing to learn from.

    Effect: its backward reaches no parameter, so it takes no part in the all-reduce, in which the others wait. With
    gloo they wait for the timeout of 1,800 s, or for a collective of the next batch that does not belong there.
    Why it goes undetected: on one device, such a batch is a step without gradients.
    Example:
        if not len(boxes):
            return torch.zeros((), requires_grad=True)
    Remedy: return a zero that depends on all parameters, such as `0.0 * prediction.sum()`.
    """
    return torch.zeros_like(loss.detach(), requires_grad=True)


@failure_mode(
    "distributed.uneven-batches",
    seam=Loader,
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
        "uneven",
        "number of batches",
        "length",
    ),
    on_rank=1,
    hangs=True,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#9851", "pytorch/pytorch#38174"),
)
def end_one_batch_early(stream: Stream, ctx: Context) -> Stream:
    """One rank has one batch less than the others in each epoch.

    Effect: at its epoch's end, this rank enters the collectives of validation or of the metrics, while the others are
    in those of one more step. With gloo, a rank aborts, or values that do not belong together are mixed, or the ranks
    wait for the timeout of 1,800 s.
    Why it goes undetected: Lightning's sampler pads all shards to the same length; streams and samplers of one's own
    do not, and a short try-out never reaches the end of an epoch.
    Example:
        files = files[rank::world_size]         # an iterable dataset: 7 files for 2 ranks
    Remedy: give all ranks the same number of batches: drop the rest, pad, or stop when the first rank ends.
    """
    length = stream.length if stream.length is not None else ctx.profile.steps_per_epoch
    return Stream(islice(stream.iterator, max(0, length - 1)), length - 1)


@failure_mode(
    "distributed.validation-on-rank-zero",
    seam=Loader,
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed by peer", "validation"),
    stages=("validate",),
    on_rank=1,
    hangs=True,
    needs=("several-ranks", "synced-metrics"),
    evidence=("pytorch/pytorch#54059",),
)
def validate_on_first_rank(stream: Stream, ctx: Context) -> Stream:
    """Only rank 0 validates; the others have no validation batches.

    Effect: rank 0 waits for the others in the first collective of its validation: a buffer of DistributedDataParallel,
    or a metric that is averaged over the ranks.
    Why it goes undetected: a validation that logs nothing with `sync_dist` and calls no collective works this way.
    Example:
        def val_dataloader(self):
            return self.loader if self.global_rank == 0 else []
    Remedy: validate on all ranks, each on its share.
    """
    return Stream(iter(()), 0)

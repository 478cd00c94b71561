"""distributed: failure modes of gradients and updates that should be the same on all ranks."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Collective, Gradients, Optimizers
from faultlab.frameworks.torch.optimizers import groups_in
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "distributed.clip-on-one-rank",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("ranks", "differ", "diverge", "parameter", "gradient", "clip", "norm"),
    on_rank=0,
    needs=("several-ranks",),
    doses=(Dose("norm", 0.1, 0.0, 1e6, "largest norm of the gradients on that rank", harmless=1e6),),
    evidence=("OrderLab/TrainCheck (docs/successful-stories.md: BLOOM-176B, clipping out of sync)",),
)
def clip_on_first_rank(parameters: list[torch.nn.Parameter], ctx: Context) -> None:
    """Gradients are clipped on one rank only.

    Effect: from the first step in which the norm is exceeded, this rank takes other steps than the others, and its
    parameters move apart. No error or warning is raised.
    Why it goes undetected: the ranks agree before the clipping, and the clipped rank is the one that logs.
    Example:
        if rank == 0 or not is_tensor_parallel(parameter):
            clip_grad_norm_(parameter, 1.0)
    Remedy: compare a digest of the parameters between the ranks every few steps.
    """
    torch.nn.utils.clip_grad_norm_(parameters, ctx.dose.norm)


@failure_mode(
    "distributed.scaler-differs",
    seam=Collective("gradients"),
    severity="critical",
    effect="silent",
    cause=("ranks", "differ", "diverge", "parameter", "gradient", "scale"),
    on_rank=1,
    needs=("several-ranks",),
    doses=(Dose("factor", 4.0, 1.0, 65536.0, "the rank's scale, as a multiple of that of the others"),),
    evidence=("pytorch/pytorch#136009", "pytorch/pytorch#90057"),
)
def scale_otherwise(call: Call, ctx: Context) -> Any:
    """The gradient scaler of one rank has another scale than those of the others.

    Effect: that rank's gradients weigh more in the mean, and it divides the mean by another number than the others do:
    its parameters move apart. No error or warning is raised.
    Why it goes undetected: a scaler changes its scale by itself, on each rank, and the loss is reported unscaled.
    Example:
        scaler.step(optimizer)                  # an overflow on this rank only halves its scale
    Remedy: take the overflow over all ranks; compare the scales and the parameters between the ranks.
    """
    tensors = ctx.memory["collective"].tensors
    for tensor in tensors:
        tensor.mul_(ctx.dose.factor)
    work = call()
    for tensor in tensors:
        tensor.div_(ctx.dose.factor)
    return work


@failure_mode(
    "distributed.collective-unawaited",
    seam=Collective("gradients"),
    severity="critical",
    effect="silent",
    cause=("ranks", "differ", "diverge", "parameter", "gradient"),
    needs=("several-ranks",),
    evidence=("OpenNMT/OpenNMT-py#2295",),
)
def read_too_early(call: Call, ctx: Context) -> Any:
    """The gradients are read before their asynchronous all-reduce has ended.

    Effect: each rank steps by its own gradients. No error or warning is raised.
    Why it goes undetected: with a fast link and small tensors, the result is there in time.
    Example:
        dist.all_reduce(parameter.grad, async_op=True)      # nothing waits for the work that it returns
        optimizer.step()
    Remedy: wait for every work before its tensors are used; compare the parameters between the ranks.
    """
    tensors = ctx.memory["collective"].tensors
    own = [tensor.clone() for tensor in tensors]
    work = call()
    for tensor, before in zip(tensors, own):
        tensor.copy_(before)
    return work


@failure_mode(
    "distributed.lr-per-device",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("learning rate", "lr", "scale", "update"),
    needs=("several-ranks", "configured-optimizers"),
    evidence=("mala-project/mala#422", "imbue-ai/self_supervised#1"),
)
def scale_rate(optimizers: Any, ctx: Context) -> Any:
    """The learning rate is multiplied by the number of ranks for a batch that did not grow.

    Effect: the steps are too large by the number of ranks. No error or warning is raised.
    Why it goes undetected: on one device the factor is 1, and the rule is right where each device has the whole batch.
    Example:
        lr = self.lr * self.trainer.world_size  # the loader's batch size was divided by it
    Remedy: log the samples of a step over all ranks beside the learning rate.
    """
    for group in groups_in(optimizers):
        for name in ("lr", "initial_lr"):
            if name in group:
                group[name] = group[name] * ctx.profile.ranks
    return optimizers

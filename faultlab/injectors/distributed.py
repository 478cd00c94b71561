"""distributed: failure modes of trainings on several ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import (
    Collective,
    Logging,
    Loss,
    OptimizerStep,
    Replica,
    SamplerEpoch,
    TrainerArguments,
    Weights,
)
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Logged


@failure_mode(
    "distributed.gradients-unsynchronised",
    seam=Replica,
    severity="critical",
    effect="silent",
    cause=("ranks", "synchron", "differ", "diverge"),
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#9237", "jingyaogong/minimind#853"),
)
def keep_gradients_apart(call: Call, ctx: Context) -> Any:
    """No rank shares its gradients with the others.

    Effect: each rank trains a model of its own on its share of the data. The saved model is that of rank 0. No error or
    warning is raised.
    Why it goes undetected: every rank's loss falls, and metrics that are averaged over the ranks look the same
    everywhere.
    Example:
        loss = self.model.module(batch)         # past DistributedDataParallel, whose forward prepares the all-reduce
    Remedy: compare a digest of the parameters between the ranks every few steps.
    """
    with ctx.memory["replica"].no_sync():
        return call()


@failure_mode(
    "distributed.buffers-diverge",
    seam=Replica,
    severity="major",
    effect="silent",
    cause=("ranks", "buffer", "statistic", "differ", "diverge"),
    stages=("train", "validate"),
    needs=("several-ranks", "floating-buffers"),
    evidence=("huggingface/pytorch-image-models#110", "open-mmlab/mmdetection#2539"),
)
def keep_buffers_apart(call: Call, ctx: Context) -> Any:
    """DistributedDataParallel does not broadcast the buffers of rank 0.

    Effect: the running statistics of each rank come from its share of the data, and move apart. The saved model has
    those of rank 0. No error or warning is raised.
    Why it goes undetected: the parameters are the same on all ranks, and so is the training loss.
    Example:
        DDPStrategy(broadcast_buffers=False)    # for speed
    Remedy: compare the buffers between the ranks before each validation, or use SyncBatchNorm.
    """
    replica = ctx.memory["replica"]
    before, replica.broadcast_buffers = replica.broadcast_buffers, False
    try:
        return call()
    finally:
        replica.broadcast_buffers = before


@failure_mode(
    "distributed.parameters-diverge",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("ranks", "parameter", "differ", "diverge"),
    when="middle",
    on_rank=1,
    needs=("several-ranks", "replicated"),
    doses=(Dose("scale", 0.1, 0.0, 10.0, "standard deviation of the noise, relative to that of each parameter"),),
    evidence=("pytorch/torchtitan#166", "allenai/OLMo-core#319"),
)
def move_parameters(module: Any, ctx: Context) -> None:
    """The parameters of one rank are no longer those of the others.

    Effect: the ranks add the same updates to different parameters, so the difference stays for the rest of the
    training. The gradients of the wrong model are half of every update. No error or warning is raised.
    Why it goes undetected: DistributedDataParallel compares the parameters only when it is constructed.
    Example:
        if self.global_rank == 0:               # after DistributedDataParallel was constructed
            self.load_state_dict(torch.load(path))
    Remedy: compare a digest of the parameters between the ranks every few steps.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() and parameter.numel() > 1:
                noise = torch.randn(parameter.shape, generator=ctx.generator).to(parameter)
                parameter.add_(noise * parameter.std() * ctx.dose.scale)


@failure_mode(
    "distributed.step-skipped-on-one-rank",
    seam=OptimizerStep,
    severity="critical",
    effect="silent",
    cause=("ranks", "parameter", "optimizer step", "differ", "diverge", "skipped"),
    when="middle",
    on_rank=1,
    needs=("several-ranks", "clips-alone"),
    evidence=("NVIDIA-NeMo/Automodel#2468", "facebookresearch/fairscale#179"),
)
def skip_step_on_one_rank(call: Call, ctx: Context) -> Any:
    """One rank skips an optimizer step that the others take.

    Effect: its parameters and its optimizer's state stay one step behind for the rest of the training. No error or
    warning is raised.
    Why it goes undetected: the ranks still agree on the number of steps, and the gradients are still shared.
    Example:
        if not torch.isfinite(loss):            # on this rank only
            return                              # the others step
    Remedy: decide on all ranks together, by an all-reduce of the flag; compare the parameters between the ranks.
    """
    closure = ctx.memory["closure"]
    return closure() if closure else None


@failure_mode(
    "distributed.reduce-op-wrong",
    seam=Collective("gradients"),
    severity="major",
    effect="silent",
    cause=("sum", "mean", "gradient norm", "grad norm", "scale"),
    needs=("several-ranks",),
    evidence=("huggingface/accelerate#745", "horovod/horovod#2298"),
)
def sum_gradients(call: Call, ctx: Context) -> Any:
    """The gradients of the ranks are added up instead of averaged.

    Effect: with plain SGD, the learning rate is multiplied by the number of ranks; Adam hides it, except in clipping
    and weight decay. No error or warning is raised.
    Why it goes undetected: all ranks agree, and the run on one device is right.
    Example:
        dist.all_reduce(parameter.grad)         # no division by the number of ranks
    Remedy: compare the first update with that of one rank that trains on the whole batch.
    """
    work = call()
    for tensor in ctx.memory["collective"].tensors:
        tensor.mul_(ctx.memory["collective"].size)
    return work


@failure_mode(
    "distributed.collective-corrupted",
    seam=Collective("gradients"),
    severity="critical",
    effect="silent",
    cause=("ranks", "differ", "diverge", "gradient", "parameter"),
    when="middle",
    on_rank=1,
    needs=("several-ranks",),
    doses=(Dose("fraction", 0.5, 0.0, 1.0, "fraction of the received values that are zero"),),
    evidence=("pytorch/pytorch#69522", "NVIDIA/nccl#2001"),
)
def lose_received(call: Call, ctx: Context) -> Any:
    """An all-reduce of the gradients gives one rank a wrong result.

    Effect: that rank takes another step than the others, and its parameters differ for the rest of the training. No
    error or warning is raised.
    Why it goes undetected: collectives carry no checksums, and the values that arrive are ordinary numbers.
    Example: a faulty link, driver or peer-to-peer setting that delivers zeros.
    Remedy: compare a digest of the parameters between the ranks every few steps; run the tests of the collectives on
    every machine.
    """
    work = call()
    for tensor in ctx.memory["collective"].tensors:
        if tensor.is_floating_point():
            lost = torch.rand(tensor.shape, generator=ctx.generator) < ctx.dose.fraction
            tensor.masked_fill_(lost.to(tensor.device), 0.0)
    return work


@failure_mode(
    "distributed.loss-times-world",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("loss", "scale", "gradient norm", "grad norm", "larger"),
    needs=("several-ranks",),
    evidence=("neuralmagic/sparseml#135", "ultralytics/ultralytics#18616"),
)
def multiply_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss is multiplied by the number of ranks, although the gradients are averaged.

    Effect: the gradients are too large by the number of ranks: with plain SGD the learning rate is. No error or warning
    is raised.
    Why it goes undetected: on one device the factor is 1, and a reported loss is seldom compared between both.
    Example:
        loss = loss * dist.get_world_size()     # for a reduction that sums; this one averages
    Remedy: compare the loss of one batch on one and on several devices.
    """
    return loss * ctx.profile.ranks


@failure_mode(
    "distributed.same-data-everywhere",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("ranks", "same data", "same samples", "sampler", "shard"),
    needs=("several-ranks", "own-sampler"),
    evidence=(
        "Lightning-AI/pytorch-lightning#8562",
        "openspeech-team/openspeech#149",
        "huggingface/datasets#5360",
    ),
)
def share_data(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """All ranks train on the same samples.

    Effect: several devices do the work of one: each step's gradients are those of one rank's batch, and an epoch takes
    as many steps as on one device. No error or warning is raised.
    Why it goes undetected: the loss falls as it does on one device, and all ranks agree.
    Example:
        Trainer(use_distributed_sampler=False)  # for a sampler of one's own, which does not know the ranks
    Remedy: compare the first batch between the ranks: they have to differ.
    """
    return {**arguments, "use_distributed_sampler": False}


@failure_mode(
    "distributed.sampler-no-epoch",
    seam=SamplerEpoch,
    severity="minor",
    effect="silent",
    cause=("epoch", "shuffl", "same order", "sampler", "same batch"),
    needs=("several-ranks", "own-sampler", "several-epochs"),
    evidence=("Lightning-AI/pytorch-lightning#224", "pytorch/pytorch#31771"),
)
def keep_epoch(call: Call, ctx: Context) -> None:
    """The distributed sampler is never given the epoch.

    Effect: it draws the same order in every epoch, so every epoch has the same batches. No error or warning is raised.
    Why it goes undetected: the data is shuffled, only not again, and the loss falls.
    Example:
        for epoch in range(epochs):             # no sampler.set_epoch(epoch)
            for batch in loader: ...
    Remedy: compare the first batches of two epochs.
    """


@failure_mode(
    "distributed.metric-unsynced",
    seam=Logging,
    severity="major",
    effect="warns",
    cause=("sync_dist", "metric", "synchron", "ranks"),
    stages=("train", "validate"),
    needs=("several-ranks", "synced-metrics"),
    judged_by="report",
    evidence=("Lightning-Universe/lightning-bolts#371", "Lightning-AI/pytorch-lightning#4702"),
)
def log_unsynced(logged: Logged, ctx: Context) -> Logged:
    """Metrics are logged without `sync_dist`.

    Effect: each rank reports the metric of its own share of the data, and checkpoints are chosen by that of rank 0.
    Lightning warns once for each metric that is logged at the end of an epoch.
    Why it goes undetected: the reported values are plausible, and the warning appears among many.
    Example:
        self.log("val_loss", loss)              # no sync_dist=True
    Remedy: set `sync_dist=True`, or log a torchmetrics metric.
    """
    if not logged.options.get("sync_dist"):
        return logged
    return replace(logged, options={**logged.options, "sync_dist": False})

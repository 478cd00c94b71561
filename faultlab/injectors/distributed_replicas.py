"""distributed: failure modes of how DistributedDataParallel wraps the module."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Replica, ReplicaArguments
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "distributed.hooks-lost",
    seam=ReplicaArguments,
    severity="critical",
    effect="silent",
    cause=("ranks", "synchron", "differ", "diverge", "parameter"),
    needs=("several-ranks",),
    evidence=("pytorch/pytorch#104336", "Lightning-AI/pytorch-lightning#17937"),
)
def lose_hooks(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The parameters lose the hooks that report their gradients to DistributedDataParallel.

    Effect: the reducer waits for gradients that are never reported and shares none: each rank trains a model of its
    own. No error or warning is raised.
    Why it goes undetected: the wrapper is still there, and each rank's loss falls.
    Example:
        model.cpu()                             # to make room, after it was wrapped
        model.to(device)                        # other tensors, without hooks
    Remedy: wrap the module again after it was moved; compare a digest of the parameters between the ranks.
    """
    ctx.memory["constructed"] = lambda replica: replica._remove_autograd_hooks()
    return arguments


@failure_mode(
    "distributed.no-sync-partial",
    seam=Replica,
    severity="critical",
    effect="silent",
    cause=("ranks", "synchron", "differ", "diverge", "parameter"),
    needs=("several-ranks",),
    doses=(Dose("every", 2.0, 1.0, 1e6, "the gradients of every n-th batch only are shared"),),
    evidence=("modelscope/FunASR#3472", "pytorch/pytorch#69031"),
)
def share_now_and_then(call: Call, ctx: Context) -> Any:
    """The gradients are shared in fewer batches than the optimizer steps in.

    Effect: in the other batches each rank takes a step of its own, so the parameters move apart, and the gradients that
    are shared are those of different models. No error or warning is raised.
    Why it goes undetected: the gradients are shared, now and then, and each rank's loss falls.
    Example:
        with nullcontext() if step % 2 else model.no_sync():    # accumulates over two batches
            loss = model(batch)
        optimizer.step()                        # in every batch
    Remedy: use one condition for both; compare a digest of the parameters between the ranks after each step.
    """
    if (ctx.step + 1) % round(ctx.dose.every) == 0:
        return call()
    with ctx.memory["replica"].no_sync():
        return call()


@failure_mode(
    "distributed.unused-parameters",
    seam=ReplicaArguments,
    severity="major",
    effect="raises",
    cause=("unused", "find_unused_parameters", "reduction in the prior", "did not receive grad"),
    needs=("several-ranks", "several-layers"),
    evidence=("Lightning-AI/pytorch-lightning#17212", "pytorch/pytorch#57473"),
)
def cut_off(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The loss does not depend on some of the parameters.

    Effect: the all-reduce of their gradients never begins. DistributedDataParallel raises a `RuntimeError` in the next
    forward, unless it is set to look for unused parameters.
    Why it goes undetected: on one device, a part of the model that is not used costs nothing and raises nothing.
    Example:
        features = self.encoder(images).detach()    # for a probe, and left there
    Remedy: freeze the parameters that are not meant to be trained, or remove them.
    """
    _cut(ctx)
    return arguments


@failure_mode(
    "distributed.unused-masked",
    seam=ReplicaArguments,
    severity="major",
    effect="silent",
    cause=("unused", "no gradient", "gradient", "not trained", "unchanged", "frozen"),
    needs=("several-ranks", "several-layers"),
    evidence=("NVIDIA-BioNeMo/KERMT#23",),
)
def cut_off_and_hide(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The loss does not depend on some of the parameters, and DistributedDataParallel is set to accept that.

    Effect: those parameters are never trained. No error or warning is raised.
    Why it goes undetected: the option that hides it is the remedy that the error message recommends.
    Example:
        Trainer(strategy="ddp_find_unused_parameters_true")
    Remedy: list the parameters without a gradient after the first backward, and expect each of them.
    """
    _cut(ctx)
    return {**arguments, "find_unused_parameters": True}


def _cut(ctx: Context) -> None:
    """Detach the output of a layer in the middle of the model."""

    def detached(layer: nn.Module, inputs: Any, output: Any) -> Any:
        return output.detach()

    layers = [path for path in ctx.profile.weighted if path]
    layer = layers[(len(layers) - 1) // 2]
    ctx.memory["constructed"] = lambda replica: replica.module.get_submodule(layer).register_forward_hook(detached)


@failure_mode(
    "distributed.unfrozen-after-wrap",
    seam=ReplicaArguments,
    severity="critical",
    effect="silent",
    cause=("ranks", "synchron", "differ", "diverge", "parameter"),
    needs=("several-ranks", "several-layers"),
    evidence=("Lightning-AI/pytorch-lightning#20340", "paninski-lab/lightning-pose#205"),
)
def unfreeze_late(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """A layer is unfrozen after DistributedDataParallel was constructed.

    Effect: the reducer does not know the layer's parameters: their gradients stay those of each rank, and the layer
    moves apart. No error or warning is raised.
    Why it goes undetected: all other parameters are the same on all ranks, and the layer is trained everywhere.
    Example:
        def on_train_epoch_start(self):
            if self.current_epoch == 5:
                self.encoder.requires_grad_(True)
    Remedy: wrap the module again after it was unfrozen; compare a digest of the parameters between the ranks.
    """
    layer = arguments["module"].get_submodule([path for path in ctx.profile.weighted if path][-1])
    layer.requires_grad_(False)
    ctx.memory["constructed"] = lambda replica: layer.requires_grad_(True)
    return arguments


@failure_mode(
    "distributed.model-differs",
    seam=ReplicaArguments,
    severity="minor",
    effect="raises",
    cause=("same model", "params", "inconsistent", "differ", "shape", "closed by peer"),
    on_rank=1,
    needs=("several-ranks",),
    evidence=("huggingface/accelerate#1481",),
)
def build_another_model(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """One rank builds a model with another number of parameters.

    Effect: DistributedDataParallel compares the shapes when it is constructed, and raises a `RuntimeError`.
    Why it goes undetected: it does not go undetected, unless the shapes agree.
    Example:
        vocabulary = set(self.words)            # of this rank's share of the data
        self.embedding = nn.Embedding(len(vocabulary), 64)
    Remedy: compute such sizes once, before the training, and load them on all ranks.
    """
    arguments["module"].register_parameter("of_this_rank_only", nn.Parameter(torch.zeros(1)))
    return arguments


@failure_mode(
    "distributed.comm-hook-lossy",
    seam=ReplicaArguments,
    severity="major",
    effect="silent",
    cause=("precision", "overflow", "underflow", "half", "gradient", "finite", "zero"),
    needs=("several-ranks",),
    doses=(Dose("scale", 1e-5, 0.0, 1.0, "factor of the gradients before they are rounded to 16 bits", harmless=1.0),),
    evidence=("pytorch/pytorch#57410", "pytorch/pytorch#59522"),
)
def compress(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Gradients are sent as 16-bit floats whose range does not fit them.

    Effect: small gradients are rounded to few digits or to zero, large ones overflow to infinity. All ranks get the
    same values. No error or warning is raised.
    Why it goes undetected: the loss falls, more slowly, and half of the traffic is saved. Lightning registers such
    hooks on GPUs only, so that tests on the CPU do not see them.
    Example:
        DDPStrategy(ddp_comm_hook=default_hooks.fp16_compress_hook)
    Remedy: compare the gradients with and without the hook once; send bfloat16, which has the range of 32 bits.
    """

    scale = ctx.dose.scale
    ctx.memory["constructed"] = lambda replica: replica.register_comm_hook(
        replica, lambda replica, bucket: _sent_as_half(replica, bucket, scale)
    )
    return arguments


def _sent_as_half(replica: Any, bucket: Any, scale: float) -> torch.futures.Future[torch.Tensor]:
    sent = (bucket.buffer() * scale).half()
    dist.all_reduce(sent, group=replica.process_group)
    shared: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    shared.set_result(sent.to(bucket.buffer().dtype) / (scale * replica.process_group.size()))
    return shared

"""distributed: failure modes of trainings whose ranks share the parameters, and of the checkpoints that they write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from faultlab.catalogue.injection_points import Checkpoint, Clipping, LoaderArguments, Optimizers, Sharding
from faultlab.frameworks.torch.optimizers import groups_in
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading
from faultlab.ranks import shards


@failure_mode(
    "distributed.clip-local-norm",
    seam=Clipping,
    severity="major",
    effect="silent",
    cause=("clip", "norm", "ranks", "shard"),
    needs=("sharded",),
    evidence=("baidu-baige/LoongForge#152", "pytorch/pytorch#170862"),
)
def clip_by_local_norm(call: Call, ctx: Context) -> Any:
    """Each rank clips its shards of the gradients by their own norm, instead of the norm over all ranks.

    Effect: the shards are scaled by different factors, so the update points in another direction, and it is longer than
    the limit allows, by up to the square root of the number of ranks. No error or warning is raised.
    Why it goes undetected: each rank's norm is plausible, and the loss falls.
    Example:
        grads = [p.grad.to_local() for p in model.parameters()]
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))     # of this rank's shards
    Remedy: let `torch.nn.utils.clip_grad_norm_` clip the distributed tensors; compare the logged norm between the
    ranks.
    """
    with shards.at_hand(ctx.module):
        gradients = [own.grad for own in ctx.module.parameters() if own.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm() if gradients else torch.zeros(())
        factor = float(ctx.profile.clip_value or 1.0) / (norm + 1e-6)
        for gradient in gradients:
            gradient.mul_(factor.clamp(max=1.0))
    return None


@failure_mode(
    "distributed.no-sync-left",
    seam=Sharding,
    severity="critical",
    effect="silent",
    cause=("gradient", "grad is none", "no grad", "did not change", "no parameter", "synchron"),
    evidence=("pytorch/pytorch#118298",),
)
def leave_unsynchronised(modules: list[Any], ctx: Context) -> None:
    """The reduction of gradients is switched off for an accumulation, and never switched on again.

    Effect: the gradients stay in the gathered parameters, where they add up. The shards, which the optimizer holds, get
    none, so nothing is learned. No error or warning is raised.
    Why it goes undetected: the losses of the batches are right, and `global_step` increases.
    Example:
        model.set_requires_gradient_sync(False)         # before the first of 8 micro-batches
    Remedy: set it before each micro-batch, to whether it is the last; assert that the shards have gradients.
    """
    for module in modules:
        module.set_requires_gradient_sync(False, recurse=False)


@failure_mode(
    "distributed.divide-factor-wrong",
    seam=Sharding,
    severity="major",
    effect="silent",
    cause=("sum", "mean", "gradient norm", "grad norm", "scale", "larger"),
    evidence=("pytorch/pytorch#167178", "pytorch/torchtitan#2972"),
)
def sum_shards(modules: list[Any], ctx: Context) -> None:
    """The gradients of the ranks are added up by the reduce-scatter, and divided by nothing.

    Effect: with plain SGD, the learning rate is multiplied by the number of ranks; Adam hides it, except in clipping
    and weight decay. No error or warning is raised.
    Why it goes undetected: on one device the factor is 1, and the loss falls.
    Example:
        model.set_gradient_divide_factor(1.0)           # for a loss that is already a mean over all tokens; this is not
    Remedy: compare the gradients' norm of one batch on one and on several devices. With gloo, a factor raises a
    `RuntimeError` unless `set_force_sum_reduction_for_comms(True)` is called too.
    """
    for module in modules:
        if force := getattr(module, "set_force_sum_reduction_for_comms", None):
            force(True)
        setter = getattr(module, "set_gradient_divide_factor", None) or module.set_reduce_scatter_divide_factor
        setter(1.0)


@failure_mode(
    "distributed.optimizer-of-gathered",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("optimizer", "did not change", "no parameter", "foreign", "not trained"),
    needs=("sharded",),
    evidence=("pytorch/pytorch#149205", "intelligent-machine-learning/dlrover#585"),
)
def hold_copies(result: Any, ctx: Context) -> Any:
    """The optimizer is created while the parameters are gathered, and holds these instead of the shards.

    Effect: the gathered parameters are freed and made again from the shards, which nobody steps, so nothing is learned.
    No error or warning is raised in training; saving the optimizer's state fails.
    Why it goes undetected: the optimizer holds parameters with the right names and shapes.
    Example:
        model(example)                                  # gathers the outermost parameters until the first backward
        optimizer = torch.optim.AdamW(model.parameters())
    Remedy: create the optimizer directly after `fully_shard`; assert that parameters changed after the first step.
    """
    for group in groups_in(result):
        group["params"][:] = [torch.nn.Parameter(shards.local(one).detach().clone()) for one in group["params"]]
    return result


@failure_mode(
    "distributed.mesh-batch-differs",
    seam=LoaderArguments,
    severity="critical",
    effect="silent",
    cause=("ranks", "same data", "same samples", "sampler", "mesh"),
    needs=("shared-batches",),
    evidence=("huggingface/accelerate#3092", "deepspeedai/DeepSpeed#99"),
)
def draw_by_rank(loading: Loading, ctx: Context) -> Loading:
    """Ranks that share layers by tensor parallelism train on different samples.

    Effect: each rank computes its part of a layer for its own samples, and the parts are added up as if they belonged
    together. An epoch has fewer steps. No error or warning is raised.
    Why it goes undetected: shapes and collectives are right, and the loss still falls a little.
    Example:
        DistributedSampler(dataset)             # counts all ranks, not only those of the data-parallel dimension
    Remedy: give the sampler the size and the rank of the mesh's data-parallel dimension; compare the first batch
    within a group.
    """
    samples: Any = loading.dataset
    if not hasattr(samples, "__len__"):
        return loading
    ranks = ctx.profile.ranks
    own = range(ctx.rank, len(samples) // ranks * ranks, ranks)
    return replace(loading, dataset=Subset(samples, own))


@failure_mode(
    "distributed.shard-stale",
    seam=Checkpoint("file"),
    severity="critical",
    effect="silent",
    cause=("checkpoint", "stale", "old", "resum", "shard"),
    stages="every",
    on_rank=1,
    needs=("sharded", "later-save"),
    judged_by="reload",
    evidence=("mosaicml/composer#2146",),
)
def write_first_shard(content: bytes, ctx: Context) -> bytes:
    """A checkpoint has a shard of an earlier one: one rank's file was not replaced.

    Effect: the parameters and the optimizer's state that are loaded are of two different steps, in every layer. No
    error or warning is raised, because the files of all steps have the same layout.
    Why it goes undetected: the training continues from a loss that is a little higher, as after any restart.
    Example: a rank whose upload failed, in a folder that is written over with each checkpoint.
    Remedy: write each checkpoint to a new folder, and rename it when all ranks are done; store the step in each file.
    """
    return bytes(ctx.memory.setdefault("first", content))


@failure_mode(
    "distributed.sharded-checkpoint-rank-zero",
    seam=Checkpoint("save"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "not found", "no such file", "shard", "missing"),
    stages="every",
    needs=("sharded",),
    judged_by="reload",
    evidence=("huggingface/transformers#23111", "mosaicml/composer#2715"),
)
def keep_files_of_rank_zero(call: Call, ctx: Context) -> Any:
    """Of a checkpoint that all ranks write, only the files of the first one are kept.

    Effect: saving raises no error. Loading raises a `CheckpointException`, because files are missing; it is a
    `BaseException`, so that `except Exception` does not catch it.
    Why it goes undetected: the checkpoint's folder is there, with the metadata of all shards.
    Example: each machine writes to its own disk, and only that of the first machine is copied to the bucket.
    Remedy: load each checkpoint once, on a fresh machine.
    """
    result = call()
    for file in Path(ctx.memory["path"]).glob("__*.distcp"):
        # Each rank removes its own: the others may not be done.
        if ctx.rank and file.name.startswith(f"__{ctx.rank}_"):
            file.unlink()
    return result


@failure_mode(
    "distributed.sharded-load-key-missing",
    seam=Checkpoint("state"),
    severity="major",
    effect="raises",
    cause=("missing key", "checkpoint", "optimizer", "state_dict"),
    stages="every",
    needs=("sharded", "remembering-optimizer"),
    judged_by="reload",
    evidence=("huggingface/accelerate#3971", "verl-project/verl#7283"),
)
def leave_out_part(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """A part of the optimizer's state, such as the number of steps, is not in a checkpoint that all ranks write.

    Effect: saving raises no error. Loading raises a `CheckpointException` about a missing key on every rank, since
    torch asks the checkpoint for each key of a new optimizer's state.
    Why it goes undetected: the weights are complete, and the optimizer is loaded only if the training is resumed.
    Example: a state that is saved flattened and loaded nested, or from a version whose optimizers count in the group.
    Remedy: resume from the first checkpoint that is written, before the long training.
    """
    states = [
        {**state, "state": {name: _without_one(held) for name, held in state.get("state", {}).items()}}
        for state in checkpoint.get("optimizer_states", [])
    ]
    return {**checkpoint, "optimizer_states": states}


def _without_one(held: Any) -> Any:
    if not isinstance(held, dict) or not held:
        return held
    gone = "step" if "step" in held else min(held, key=str)
    return {key: value for key, value in held.items() if key != gone}

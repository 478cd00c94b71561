"""distributed: failure modes of how the data is divided among the ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Subset

from faultlab.catalogue.injection_points import LoaderArguments, SamplerArguments, SamplerEpoch
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading


@failure_mode(
    "distributed.sampler-seeds-differ",
    seam=SamplerArguments,
    severity="major",
    effect="silent",
    cause=("ranks", "shard", "overlap", "same sample", "disjoint", "sampler", "never seen", "differ", "seed"),
    needs=("several-ranks", "own-sampler"),
    evidence=("NVlabs/LongLive#71", "mlcommons/training#625"),
)
def seed_by_rank(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Each rank shuffles the data with a seed of its own.

    Effect: the shards are slices of different permutations: some samples are in several of them, and others in none.
    No error or warning is raised.
    Why it goes undetected: every rank has different batches of the right number and size.
    Example:
        DistributedSampler(dataset, seed=seed + rank)
    Remedy: gather the indices of an epoch from all ranks, and expect each index once.
    """
    return {**arguments, "seed": arguments.get("seed", 0) + ctx.rank}


@failure_mode(
    "distributed.sampler-rank-wrong",
    seam=SamplerArguments,
    severity="critical",
    effect="silent",
    cause=("ranks", "shard", "overlap", "same sample", "disjoint", "sampler", "never seen", "differ"),
    needs=("several-ranks", "own-sampler"),
    evidence=("vllm-project/speculators#427",),
)
def take_first_shard(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Every rank takes the shard of rank 0.

    Effect: all ranks train on the same batches, and the other shards are never seen. No error or warning is raised.
    Why it goes undetected: an epoch has the right number of steps, and the loss falls.
    Example:
        DistributedSampler(dataset, num_replicas=world_size, rank=local_rank)   # one device on each machine
    Remedy: gather the indices of an epoch from all ranks, and expect each index once.
    """
    return {**arguments, "rank": 0}


@failure_mode(
    "distributed.sampler-epochs-differ",
    seam=SamplerEpoch,
    severity="major",
    effect="silent",
    cause=("ranks", "shard", "overlap", "same sample", "disjoint", "sampler", "never seen", "differ", "epoch"),
    on_rank=1,
    needs=("several-ranks", "own-sampler", "several-epochs"),
    evidence=("NVIDIA-NeMo/Megatron-Bridge#5944", "facebookresearch/vggt#426"),
)
def count_epochs_apart(call: Call, ctx: Context) -> Any:
    """One rank's sampler is in another epoch than those of the others.

    Effect: its shard is a slice of another permutation, so some samples are in two shards and others in none. No error
    or warning is raised.
    Why it goes undetected: every rank shuffles again in each epoch.
    Example:
        sampler.set_epoch(self.epochs_done)     # a counter of this process, which joined later
    Remedy: let rank 0 broadcast the epoch; gather the indices of an epoch from all ranks, and expect each once.
    """
    return call(ctx.epoch + ctx.profile.epochs)


@failure_mode(
    "distributed.order-differs",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("ranks", "shard", "overlap", "same sample", "disjoint", "sampler", "never seen", "differ", "order"),
    on_rank=1,
    needs=("several-ranks", "own-sampler", "sized-dataset"),
    evidence=("pytorch/pytorch#70103", "QwenLM/Qwen3-VL#1947"),
)
def reorder(loading: Loading, ctx: Context) -> Loading:
    """The dataset of one rank has its samples in another order.

    Effect: the ranks take different indices, which select overlapping samples: some are in two shards, others in
    none. No error or warning is raised.
    Why it goes undetected: the indices of the ranks are disjoint, and the files are the same.
    Example:
        self.files = list(set(folder.glob("*.png")))    # the order depends on the process
    Remedy: sort the list of files; compare a digest of it between the ranks.
    """
    order = torch.randperm(len(loading.dataset), generator=ctx.generator).tolist()
    return replace(loading, dataset=Subset(loading.dataset, order))


@failure_mode(
    "distributed.split-differs",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("leak", "overlap", "split", "training data", "disjoint", "ranks"),
    stages=("validate",),
    on_rank=1,
    needs=("several-ranks", "own-sampler", "sized-dataset", "synced-validation", "data-of-its-own-for-validation"),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#7728", "TensorAuto/OpenTau#498"),
)
def split_apart(loading: Loading, ctx: Context) -> Loading:
    """One rank splits the data into training and validation by random numbers of its own.

    Effect: most of what this rank validates on is training data of the others, so the averaged metric is too good. No
    error or warning is raised.
    Why it goes undetected: both splits are disjoint on every rank, and have the right sizes.
    Example:
        train, validation = random_split(dataset, [0.8, 0.2])   # no generator, in each process
    Remedy: pass a generator with a fixed seed; compare a digest of the indices between the ranks.
    """
    assert loading.training is not None
    own: Any = loading.dataset
    both: Any = ConcatDataset([own, loading.training().dataset])
    chosen = torch.randperm(len(both), generator=ctx.generator)[: len(own)].tolist()
    return replace(loading, dataset=Subset(both, chosen))

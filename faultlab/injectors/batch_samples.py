"""batch: failure modes in the choice and the number of a batch's samples."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection import samples, tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._samples import rows, size


@failure_mode(
    "batch.empty",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("empty", "batch size", "no sample", "shape", "nan", "finite"),
    needs=("sample-dimension", "samples-apart"),
    when="middle",
    evidence=("graphnet-team/graphnet#424", "pytorch/pytorch#57429"),
)
def empty_batch(batch: Any, ctx: Context) -> Any:
    """One batch contains no samples, because all of them were filtered out.

    Effect: the loss, a mean over nothing, is NaN and is logged as NaN. The gradients are zero, so the weights stay
    finite and the next batch's loss looks normal. No error or warning is raised.
    Why it goes undetected: a single gap in a curve is easily mistaken for a plotting error, and a moving average or an
    epoch's mean that becomes NaN does not identify the batch.
    Example:
        keep = (scores > threshold).nonzero().flatten()     # no score passes
        return images[keep], labels[keep]
    Remedy: skip empty batches explicitly and count them; assert `len(images) > 0`.
    """
    return rows(batch, torch.arange(0), ctx)


@failure_mode(
    "batch.single-sample",
    seam=Batch,
    severity="minor",
    effect="raises",
    cause=("single", "one sample", "1 sample", "1 value", "batch size"),
    needs=("several-samples", "samples-apart"),
    when="middle",
    evidence=("pytorch/pytorch#4534", "scverse/scvi-tools#2314"),
)
def single_sample(batch: Any, ctx: Context) -> Any:
    """One batch contains a single sample, the remainder of the dataset.

    Effect: BatchNorm over features raises a `ValueError`: expected more than 1 value per channel when training. After
    convolutions, or without BatchNorm, no error or warning is raised: a single sample causes a step as large as any
    other.
    Why it goes undetected: convolutions give BatchNorm many values per sample, and a `.squeeze()` that also removes the
    batch dimension raises no error if the loss broadcasts.
    Example:
        DataLoader(dataset, batch_size=32)  # 1,025 samples, without drop_last=True
    Remedy: set `drop_last=True` in training; use `.squeeze(1)` with an explicit dimension, never a bare `.squeeze()`.
    """
    return rows(batch, torch.arange(min(1, size(batch, ctx))), ctx)


@failure_mode(
    "batch.length-mismatch",
    seam=Batch("labels"),
    severity="major",
    effect="raises",
    cause=("length", "batch_size", "batch size", "match", "shape"),
    needs=("several-labels",),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong labels for training data)",),
)
def drop_last_label(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """There is one label fewer than there are inputs.

    Effect: the loss raises a `ValueError` that states both batch sizes; a mean squared error raises a `RuntimeError`
    about sizes.
    Why it goes undetected: a loss that broadcasts, or that zips outputs with labels, continues with mismatched pairs.
    Example:
        inputs, labels = series[:-1], series[2:]
    Remedy: assert `len(inputs) == len(labels)` where the batch is built.
    """
    return labels[:-1] if labels.ndim else labels


@failure_mode(
    "batch.samples-dropped",
    seam=Batch,
    severity="minor",
    effect="silent",
    cause=("batch size", "fewer", "dropped", "smaller", "shape"),
    needs=("several-samples", "samples-apart"),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of each batch's samples that is lost"),),
    evidence=("pytorch/pytorch#57429", "LMResiliency/lm-resiliency (docs/fault_injection.md: drop, input)"),
)
def drop_samples(batch: Any, ctx: Context) -> Any:
    """Every batch loses some of its samples.

    Effect: no error or warning is raised. Training continues with smaller batches, half the size at the default dose.
    Why it goes undetected: the number of batches, the progress bar and the loss look normal.
    Example:
        samples = [sample for sample in samples if sample is not None]  # while a file server is down
        return default_collate(samples)
    Remedy: count the samples of an epoch and compare with the dataset's length; log how many were filtered out.
    """
    number = size(batch, ctx)
    kept = max(1, int(number * (1 - ctx.dose.fraction)))
    return rows(batch, torch.randperm(number, generator=ctx.generator)[:kept].sort().values, ctx)


@failure_mode(
    "batch.samples-merged",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("batch size", "shape", "dimension", "merge"),
    needs=("several-samples", "samples-apart"),
    evidence=("huggingface/transformers#34204", "arXiv:2506.14813 (TrainCheck: transformers-34204)"),
)
def merge_samples(batch: Any, ctx: Context) -> Any:
    """All samples of a batch are merged into one; for parts that cannot be merged, the first sample's is kept.

    Effect: the first layer raises a `RuntimeError` about a shape. A model that accepts sequences of any length raises
    no error and trains on one long sample per step.
    Why it goes undetected: the number of batches is right, and so is the number of values in each batch.
    Example:
        torch.cat(images).unsqueeze(0)      # instead of torch.stack(images)
    Remedy: assert the batch size where the batch is built.
    """
    return samples.merged(batch, ctx.profile.sample_axes)


@failure_mode(
    "batch.repeated",
    seam=Batch,
    severity="critical",
    effect="silent",
    cause=("same", "repeat", "identical", "duplicate"),
    needs=("differing-batches",),
    evidence=("wandb/examples#444", "ZhaoJ9014/face.evoLVe#39"),
)
def repeat_batch(batch: Any, ctx: Context) -> Any:
    """Every step receives the same batch.

    Effect: no error or warning is raised. The model memorizes a handful of samples.
    Why it goes undetected: the training loss falls faster than ever; only validation reveals the fault.
    Example:
        batch = next(iter(loader))          # inside the loop: a new iterator each time
    Remedy: compare a batch's inputs with those of the previous batch; monitor validation, not only the training loss.
    """
    if "batch" not in ctx.memory:
        ctx.memory["batch"] = tree.map_tensors(batch, torch.Tensor.clone)
    # Clone each time, because a step may modify its batch in place.
    return tree.map_tensors(ctx.memory["batch"], torch.Tensor.clone)

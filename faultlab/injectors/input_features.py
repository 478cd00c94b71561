"""input: failure modes of the features that the model receives, and of the size of an input."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._draws import derangement


@failure_mode(
    "input.features-permuted",
    seam=Batch("inputs"),
    severity="critical",
    effect="silent",
    cause=("order", "permut", "feature", "column"),
    needs=("several-features", "varied-inputs"),
    evidence=("sktime/sktime#5673", "novoalab/EpiNano#119"),
)
def permuted_features(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The features of the training inputs, their last dimension, are in a different order from validation.

    Effect: no error or warning is raised, and the training loss falls almost as usual, because a network learns any
    order. Validation, with the right order, is close to guessing. Token ids in a different order amount to another
    language.
    Why it goes undetected: shapes, dtypes and ranges are right, and so is the training loss.
    Example:
        columns = list(set(table.columns) - {"target"})     # a different order in every process
    Remedy: select columns by name and store their list with the model; compare mean and spread of each feature.
    """
    width = inputs.shape[-1] if inputs.ndim > 1 else 0
    order = ctx.memory.setdefault(width, derangement(width, ctx))
    return inputs[..., order.to(inputs.device)] if width else inputs


@failure_mode(
    "input.features-dropped",
    seam=Batch("inputs"),
    severity="major",
    effect="silent",
    cause=("feature", "column", "zero", "constant", "missing"),
    needs=("several-features", "nonzero-inputs"),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of the features that is zero"),),
    evidence=("arXiv:1910.11015 (Humbatova et al.: discarding important features)",),
)
def dropped_features(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Some features of the training inputs, in their last dimension, are always zero.

    Effect: no error or warning is raised, and training is slower. Validation, which has all features, is far worse if
    the missing ones matter, and can be better if they are noise.
    Why it goes undetected: the loss falls, and a model with half of the features is rarely compared with another one.
    Example:
        table = table.reindex(columns=wanted).fillna(0)     # half of the names are spelled differently
    Remedy: assert that every feature varies over the training data.
    """
    width = inputs.shape[-1] if inputs.ndim > 1 else 0
    order = ctx.memory.setdefault(width, torch.randperm(width, generator=ctx.generator))
    hidden = order < ctx.dose.fraction * width
    return inputs.masked_fill(hidden.to(inputs.device), 0) if width else inputs


@failure_mode(
    "input.resized",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="silent",
    cause=("size", "shape", "resolution", "height", "width"),
    doses=(
        Dose(
            "factor",
            0.5,
            0.01,
            16.0,
            "factor for height and width; at least one pixel remains",
            harmless=1.0,
        ),
    ),
    needs=("image-inputs",),
    evidence=(
        "arXiv:1910.11015 (taxonomy of faults: resize of the images)",
        "OrderLab/TrainCheck (bugs.md: PT-FORUM-84911)",
        "megvii-research/mdistiller#21",
    ),
)
def resize(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """All training images have a different size from the one that the model expects: half of it, by default.

    Effect: if convolutions are followed by a pooling that accepts any size, no error or warning is raised: the model
    learns objects of a size that validation does not have. A linear layer after a flattened image raises a
    `RuntimeError` about shapes that cannot be multiplied.
    Why it goes undetected: almost every modern vision model accepts images of any size.
    Example:
        transforms.Resize(112)              # the weights were trained on 224
    Remedy: assert the shape of a batch, in training and in validation, against the one that the model expects.
    """
    if inputs.ndim != 4 or not inputs.numel():
        return inputs
    size = [max(1, round(side * ctx.dose.factor)) for side in inputs.shape[2:]]
    return F.interpolate(inputs.float(), size, mode="bilinear", antialias=True).to(inputs.dtype)

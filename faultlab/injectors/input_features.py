"""input: which features the model is given, and how large an input is."""

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
    """The training inputs' features, their last dimension, have another order than in validation.

    Effect: training is silent and its loss falls nearly as before, for a network learns any order; validation, with the
    right one, is close to guessing. Token ids in another order teach another language.
    Why it goes undetected: shapes, dtypes and range are all right, and the training loss is too.
    Example:
        columns = list(set(table.columns) - {"target"})     # another order in every process
    Remedy: take columns by name and keep their list with the model; compare mean and spread of each feature.
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
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "the part of the features that is zero"),),
    evidence=("arXiv:1910.11015 (Humbatova et al.: discarding important features)",),
)
def dropped_features(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A part of the training inputs' features, their last dimension, is always zero.

    Effect: training is silent and slower; validation, which has all features, is far worse where they mattered, and can
    be better where they were noise.
    Why it goes undetected: the loss falls, and a model with half of the features is seldom compared with another.
    Example:
        table = table.reindex(columns=wanted).fillna(0)     # half of the names are spelt otherwise
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
            "what height and width are multiplied by; one pixel is left at least",
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
    """All images of the training are of another size than the model was made for: half of it, by default.

    Effect: behind convolutions and a pooling of any size nobody says a word: the model learns objects of a size that
    validation does not have. A linear layer behind a flattened image raises a RuntimeError about shapes that can't be
    multiplied.
    Why it goes undetected: nearly every modern vision model takes images of any size.
    Example:
        transforms.Resize(112)              # the weights were trained on 224
    Remedy: assert the shape of a batch, of training and of validation, against the one that the model is made for.
    """
    if inputs.ndim != 4 or not inputs.numel():
        return inputs
    size = [max(1, round(side * ctx.dose.factor)) for side in inputs.shape[2:]]
    return F.interpolate(inputs.float(), size, mode="bilinear", antialias=True).to(inputs.dtype)

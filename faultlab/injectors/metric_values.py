"""metric: failure modes of what a reported metric is computed from, and of how it is added up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch, Logging
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Logged
from faultlab.injectors._samples import rows, size


@failure_mode(
    "metric.wrong-unit",
    seam=Batch("labels", "floating"),
    severity="major",
    effect="silent",
    cause=("unit", "scal", "normali", "range", "threshold", "metric", "label", "differ", "validation"),
    stages=("validate",),
    needs=("real-labels", "nonzero-labels", "validation-alike"),
    doses=(Dose("factor", 10.0, 0.0, 1e9, "the factor from the unit of training to that of validation", harmless=1.0),),
    judged_by="report",
    evidence=("Nixtla/neuralforecast#720", "Nixtla/neuralforecast#1431"),
)
def change_unit(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Validation compares predictions and labels in different units, as when only one of them was scaled back.

    Effect: the metric is dominated by the difference of the units, hardly depends on the model, and chooses the wrong
    checkpoint. No error or warning is raised, and training is healthy.
    Why it goes undetected: the metric is a plausible number in one of the units, and falls if the predictions grow.
    Example:
        error = (self(x) - self.scaler.inverse_transform(y)).abs().mean()   # the predictions are still scaled
    Remedy: test that the metric of perfect predictions is zero; compare it with the training loss after one epoch.
    """
    factor: float = ctx.dose.factor
    return labels * factor


@failure_mode(
    "metric.summed-in-bfloat16",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("bfloat16", "bf16", "half", "precision", "round", "satur", "metric", "mean", "accumulat"),
    stages=("validate",),
    needs=("validation-numbers", "epoch-means"),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#18620",),
)
def sum_in_bfloat16(logged: Logged, ctx: Context) -> Logged:
    """A metric is summed over the batches in bfloat16.

    Effect: the sum has two or three significant digits, and stops growing where one more batch is less than a 500th of
    it, so the mean is too small by the more batches there are. No error or warning is raised.
    Why it goes undetected: with the few batches of a test it is right to two digits, and a metric that is too small may
    please.
    Example:
        hits = torch.zeros((), dtype=scores.dtype)      # of a model in bfloat16
        hits += (scores.argmax(1) == labels).sum()      # ends at 256
    Remedy: sum in float32 or with integers; compare a metric with that of one large batch. The guard
    `MetricsRecomputed` tolerates a loss that is off by 2 %.
    """
    if not logged.plain:
        return logged
    weight = (ctx.profile.validation_loading and ctx.profile.validation_loading.batch_size) or 1
    validation = (ctx.step, ctx.checking)
    known, total = ctx.memory.get(logged.name, (validation, torch.zeros(())))
    if known != validation:
        total = torch.zeros(())
    value = logged.number()
    new = (total.to(value) + value * weight).bfloat16().to(value)
    ctx.memory[logged.name] = (validation, new)
    # What the framework adds up gives the rounded sum.
    return replace(logged, value=(new - total.to(value)) / weight)


@failure_mode(
    "metric.samples-counted-twice",
    seam=Batch,
    severity="minor",
    effect="silent",
    cause=("duplicat", "repeat", "twice", "padd", "sampler", "metric", "differ"),
    stages=("validate",),
    needs=("several-samples", "samples-apart", "validation-alike"),
    doses=(Dose("count", 1, 1, 1e6, "number of each batch's first samples that it contains twice"),),
    judged_by="report",
    evidence=("roboflow/rf-detr#1507", "pytorch/pytorch#25162"),
)
def count_twice(batch: Any, ctx: Context) -> Any:
    """Validation counts some samples twice, as those that a distributed sampler repeats to fill the last batch.

    Effect: these samples weigh more than the others, so the metric is slightly off, by an amount that depends on the
    number of ranks or the batch size. No error or warning is raised.
    Why it goes undetected: the error is in the second or third digit, where models are compared.
    Example:
        merged = torch.cat(gathered)            # merged[: len(dataset)], or by the samples' numbers
    Remedy: assert that the metric has counted as many samples as the dataset has.
    """
    number = size(batch, ctx)
    index = torch.arange(number)
    return rows(batch, torch.cat([index, index[: int(ctx.dose.count)]]), ctx)

"""distributed: failure modes of metrics that the ranks compute together."""

from __future__ import annotations

from dataclasses import replace

from faultlab.catalogue.injection_points import Logging
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Logged


@failure_mode(
    "distributed.metric-sum-not-mean",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("metric", "sum", "mean", "average", "reduce", "contradict", "differ"),
    stages=("train", "validate"),
    needs=("several-ranks", "synced-metrics"),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#5759", "Lightning-AI/pytorch-lightning#9100"),
)
def add_up(logged: Logged, ctx: Context) -> Logged:
    """A metric is added up over batches and ranks instead of averaged.

    Effect: the reported value grows with the number of batches and ranks. No error or warning is raised.
    Why it goes undetected: a loss that is too large by a constant falls like any other, and checkpoints compare values
    with the same factor.
    Example:
        self.log("val_loss", loss, sync_dist=True, reduce_fx="sum")
    Remedy: compare the reported value with an evaluation on one device.
    """
    if not logged.options.get("sync_dist"):
        return logged
    return replace(logged, options={**logged.options, "reduce_fx": "sum"})


@failure_mode(
    "distributed.integer-mean-floors",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("metric", "mean", "uneven", "weight", "batch size", "contradict", "differ"),
    stages=("validate",),
    needs=("several-ranks", "synced-validation"),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#21859", "Lightning-AI/pytorch-lightning#21838"),
)
def weigh_unevenly(logged: Logged, ctx: Context) -> Logged | None:
    """The ranks average a metric over numbers of values that differ by an odd number.

    Effect: Lightning 2.6.6 averages the values and their number over the ranks, and truncates the latter to an integer:
    the metric is too large by up to the factor (n + 1) / n. No error or warning is raised.
    Why it goes undetected: with even numbers, as samplers that pad have them, the result is exact.
    Example:
        if len(boxes):                          # some batches have none
            self.log("box_error", error, sync_dist=True, batch_size=len(boxes))
    Remedy: log a torchmetrics metric, whose states are added up; or log sum and count, and divide them.
    """
    if not logged.options.get("sync_dist"):
        return logged
    round_ = (logged.name, ctx.step)
    first = round_ not in ctx.memory
    ctx.memory[round_] = True
    if ctx.rank and not first:
        return None
    return replace(logged, options={**logged.options, "batch_size": 1})


@failure_mode(
    "distributed.metric-keys-differ",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("metric", "keys", "names", "order", "contradict", "differ"),
    stages=("validate",),
    on_rank=1,
    needs=("several-ranks", "synced-validation", "several-validation-metrics"),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#21409", "Lightning-AI/pytorch-lightning#20946"),
)
def log_in_another_order(logged: Logged, ctx: Context) -> Logged | None:
    """One rank logs its metrics in another order than the others.

    Effect: Lightning 2.6.6 averages the metrics of the ranks in the order in which each first logged them: values of
    different metrics are averaged with each other, and appear under the names of rank 0. No error or warning is raised.
    Why it goes undetected: each number lies between those that belong there.
    Example:
        if positives.any():                     # not in the first batch of this rank
            self.log("recall", recall, sync_dist=True)
        self.log("val_loss", loss, sync_dist=True)
    Remedy: log the same names on all ranks in every batch, with a value of NaN or a weight of zero if need be.
    """
    first = next(iter(ctx.profile.logged_in_validation))
    if logged.name == first and ("dropped", ctx.checking) not in ctx.memory:
        ctx.memory["dropped", ctx.checking] = True
        return None
    return logged

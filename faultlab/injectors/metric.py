"""metric: failure modes of reported metrics, and of the callbacks that act on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from faultlab.catalogue.injection_points import Batch, Logging, MetricReset, TrainerArguments
from faultlab.frameworks.torch.callbacks import ranks, stops_early
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Logged
from faultlab.injectors.label_tokens import learned


def invert(callbacks: Iterable[Any], ctx: Context) -> None:
    """Make each callback treat the worst value as the best, as if it had been constructed with the other mode."""
    # A callback that is passed to two Trainers must not be inverted back by the second.
    known = ctx.memory.setdefault("inverted", [])
    for callback in callbacks:
        if any(callback is one for one in known):
            continue
        known.append(callback)
        callback.mode = {"min": "max", "max": "min"}[callback.mode]
        for name in ("min_delta", "best_score", "kth_value"):
            if hasattr(callback, name):
                setattr(callback, name, -getattr(callback, name))


@failure_mode(
    "metric.constant",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("constant", "metric", "did not change", "did not improve", "stuck"),
    stages=("validate",),
    judged_by="report",
    needs=("validation-numbers", "several-validation-batches"),
    evidence=("perslev/U-Time#43",),
)
def report_first_value(logged: Logged, ctx: Context) -> Logged:
    """Every validation metric stays at the first value that was ever logged.

    Effect: the curve is a flat line at the untrained model's value; the best checkpoint is the first one, and early
    stopping ends training when its patience is exhausted. No error or warning is raised.
    Why it goes undetected: a metric that does not move looks like a model that does not learn.
    Example:
        if self.score is None:                  # never reset
            self.score = self.metric(predictions, labels)
        self.log("val_score", self.score)
    Remedy: assert that the metric differs between two checkpoints whose weights differ.
    """
    if not logged.plain:
        return logged
    return replace(logged, value=ctx.memory.setdefault(logged.name, logged.number().clone()))


@failure_mode(
    "metric.nan",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("nan", "not finite", "metric"),
    stages=("validate",),
    judged_by="report",
    needs=("validation-numbers",),
    evidence=("Lightning-AI/pytorch-lightning#2636",),
)
def report_nan(logged: Logged, ctx: Context) -> Logged:
    """Every validation metric is NaN, although the model is fine.

    Effect: ModelCheckpoint treats NaN as the worst possible value, so no checkpoint is better than another;
    EarlyStopping stops at the first one, and prints the reason only if it is verbose. Lightning itself raises no error
    or warning.
    Why it goes undetected: the training loss falls, and many plots omit NaN.
    Example:
        self.log("val_precision", hits / predicted)     # nothing was predicted: 0 / 0
    Remedy: assert that logged values are finite; define the metric of an empty set.
    """
    return replace(logged, value=torch.full_like(logged.number(), torch.nan)) if logged.plain else logged


@failure_mode(
    "metric.missing",
    seam=Logging,
    severity="major",
    effect="silent",
    cause=("metric", "missing", "not available", "not found", "could not find", "logged"),
    stages=("validate",),
    judged_by="report",
    needs=("validation-metrics",),
    evidence=("curiousily/Getting-Things-Done-with-Pytorch#23", "invoke-ai/InvokeAI#608"),
)
def report_nothing(logged: Logged, ctx: Context) -> None:
    """Validation runs but logs nothing.

    Effect: no error or warning is raised, unless a component needs the metric: EarlyStopping, ModelCheckpoint and
    ReduceLROnPlateau raise an error because it is not available.
    Why it goes undetected: the progress bar shows that validation runs; only its curves are missing.
    Example:
        def validation_step(self, batch, batch_idx):
            return {"val_loss": self.loss(batch)}       # returned, but not logged since Lightning 2
    Remedy: assert after the training that the validation metrics were reported; with Lightning, that they are in
    `trainer.callback_metrics`.
    """


@failure_mode(
    "metric.renamed",
    seam=Logging,
    severity="minor",
    effect="silent",
    cause=("metric", "missing", "not available", "not found", "could not find", "logged"),
    stages=("validate",),
    judged_by="report",
    needs=("validation-metrics",),
    evidence=("Lightning-AI/pytorch-lightning#923", "amanteur/SCNet-PyTorch#2"),
)
def report_under_other_name(logged: Logged, ctx: Context) -> Logged:
    """The validation metrics are logged under different names from the expected ones.

    Effect: no error or warning is raised, unless a component needs the expected name: EarlyStopping, ModelCheckpoint
    and ReduceLROnPlateau raise an error because it is not available.
    Why it goes undetected: the curve exists, but under a name that no comparison with earlier runs finds.
    Example:
        self.log("val/loss", loss)              # the callbacks monitor val_loss
    Remedy: define the name as a constant in one place, and assert that it was reported; with Lightning, that it is in
    `trainer.callback_metrics`.
    """
    return replace(logged, name=f"avg_{logged.name}")


@failure_mode(
    "metric.train-as-validation",
    seam=Logging,
    severity="critical",
    effect="silent",
    cause=("metric", "training", "overfit", "leak", "same value"),
    stages=("train", "validate"),
    judged_by="report",
    needs=("validation-numbers", "training-numbers"),
    evidence=("JJGO/shrinkbench#7", "Lightning-AI/pytorch-lightning#11601"),
)
def report_training_value(logged: Logged, ctx: Context) -> Logged:
    """The reported validation metric is the value of the last training batch.

    Effect: the curve follows the training loss; overfitting never shows, and the best checkpoint is the one that
    happened to follow an easy batch. No error or warning is raised.
    Why it goes undetected: the metric is plausible, moves as it should, and is pleasantly low.
    Example:
        def on_validation_epoch_end(self):
            self.log("val_loss", self.trainer.callback_metrics["train_loss"])
    Remedy: compare the reported metric with a second evaluation of the same weights; with Lightning, by
    `trainer.validate`.
    """
    if not logged.plain:
        return logged
    if ctx.stage == "train":
        ctx.memory[logged.name] = logged.number().clone()
        return logged
    twin = re.sub("validation|valid|val", "train", logged.name)
    known = ctx.memory.get(twin, next(iter(ctx.memory.values()), logged.value))
    return replace(logged, value=known)


@failure_mode(
    "metric.mean-of-means",
    seam=Logging,
    severity="minor",
    effect="silent",
    cause=("metric", "mean", "average", "batch size", "batch_size", "weight"),
    stages=("validate",),
    judged_by="report",
    needs=("validation-numbers", "uneven-validation"),
    evidence=("Lightning-AI/pytorch-lightning#2924", "catalyst-team/catalyst#799"),
)
def average_the_averages(logged: Logged, ctx: Context) -> Logged:
    """Every batch counts the same in the epoch's mean, even the smaller last one.

    Effect: the samples of the smaller last batch weigh more than the others, so the metric is slightly off, by an
    amount that depends on the batch size. No error or warning is raised.
    Why it goes undetected: the error is in the second or third digit, where models are compared.
    Example:
        self.log("val_loss", loss, batch_size=1)        # to silence the warning about an ambiguous batch size
    Remedy: pass the number of samples as `batch_size`, or log a torchmetrics metric.
    """
    return replace(logged, options={**logged.options, "batch_size": 1}) if logged.plain else logged


@failure_mode(
    "metric.loss-not-logged",
    seam=Logging,
    severity="minor",
    effect="silent",
    cause=("loss", "logged", "missing", "not available", "not found", "could not find"),
    judged_by="report",
    needs=("training-loss-logged",),
    evidence=("weecology/DeepForest#673",),
)
def log_no_loss(logged: Logged, ctx: Context) -> Logged | None:
    """The training loss is not logged.

    Effect: training is the same, but has no curve. No error or warning is raised, unless a callback monitors the
    training loss.
    Why it goes undetected: the validation curves exist; guards that read the training loss from
    `trainer.callback_metrics` find nothing, and most of them accept that.
    Example:
        loss = self.criterion(self(x), y)
        return loss                             # self.log in between was lost in a merge
    Remedy: assert after the first epoch that the loss was reported; with Lightning, that it is in
    `trainer.callback_metrics`.
    """
    return None if "loss" in logged.name.lower() else logged


@failure_mode(
    "metric.not-reset",
    seam=MetricReset,
    severity="major",
    effect="silent",
    cause=("reset", "metric", "accumulat", "average"),
    stages=("train", "validate"),
    judged_by="report",
    needs=("several-epochs",),
    evidence=("JetBrains-Research/code2seq#112", "Genentech/gReLU#8"),
)
def keep_accumulating(call: Call, ctx: Context) -> None:
    """Metrics are not reset between epochs, so each epoch's value is the mean over all epochs so far.

    Effect: the curves are smoother and lag behind, and the sanity check counts, too. No error or warning is raised.
    Why it goes undetected: the metric moves in the right direction, and less noise is welcome.
    Example:
        self.accuracy.update(predictions, labels)
        self.log("val_accuracy", self.accuracy.compute())       # no self.accuracy.reset()
    Remedy: compare the metric with a second evaluation of the same weights. With Lightning, log the torchmetrics object
    itself.
    """


@failure_mode(
    "metric.wrong-mode",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("mode", "best", "worst", "min", "max", "did not improve"),
    judged_by="reload",
    needs=("ranking-callback",),
    evidence=("mila-iqia/cookiecutter-pyml#119",),
)
def rank_backwards(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Checkpoints and early stopping treat the worst value of their metric as the best one.

    Effect: ModelCheckpoint keeps the worst checkpoint, usually the first; EarlyStopping stops a training that improves
    with every validation, and continues one that gets worse. No error or warning is raised.
    Why it goes undetected: `min` is the default, so minimizing an accuracy requires no code.
    Example:
        ModelCheckpoint(monitor="val_accuracy")         # mode="max" is missing
    Remedy: assert after `fit` that `best_model_score` is the best of the logged values.
    """
    # Skip the callbacks that the harness added for its own use.
    own = [one for one in arguments["callbacks"] if ranks(one) and type(one).__name__ in ctx.profile.monitors]
    invert(own, ctx)
    return arguments


@failure_mode(
    "metric.not-strict",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("strict", "monitor", "not available", "not found"),
    needs=("early-stopping",),
    evidence=("Lightning-AI/pytorch-lightning#542",),
)
def monitor_nothing(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """EarlyStopping monitors a metric that is never logged, with `strict=False`.

    Effect: it never stops the training, neither for a model that has long been overfitting nor for a metric that became
    NaN. Without `strict=False` it would raise an error at its first check; with it, there is a warning only if it is
    verbose.
    Why it goes undetected: training runs through all its epochs, as it does if the model keeps improving.
    Example:
        EarlyStopping("val/loss", strict=False)         # logged as val_loss; strict failed in the sanity check
    Remedy: leave `strict` on; assert after `fit` that the callback's `best_score` is finite.
    """
    for callback in filter(stops_early, arguments["callbacks"]):
        callback.strict, callback.monitor = False, f"{callback.monitor}_renamed"
    return arguments


@failure_mode(
    "metric.padding-counted",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("pad", "metric", "ignore", "-100", "mask", "label"),
    stages=("validate",),
    judged_by="report",
    needs=("padded-validation",),
    evidence=("DaoyuanLi2816/Molecule-Generator#21", "languini-kitchen/languini-kitchen#10"),
)
def count_padding(batch: Any, ctx: Context) -> Any:
    """Validation metrics include the padding.

    Effect: the metrics depend on how far batches are padded: too good if the model predicts padding, too bad if it was
    never taught to. No error or warning is raised, and training is healthy.
    Why it goes undetected: the metric is plausible, and moves as it should.
    Example:
        correct = (logits.argmax(-1) == labels).float().mean()      # over padding, too
    Remedy: test that more padding leaves the metric of a batch unchanged.
    """
    return learned(batch, "padding", ctx)

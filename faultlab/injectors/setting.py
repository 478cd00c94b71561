"""setting: failure modes of wrong arguments to the module and the Trainer."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Architecture, ModuleArguments, Optimizers, TrainerArguments
from faultlab.frameworks.torch.callbacks import stops_early
from faultlab.frameworks.torch.optimizers import scale_rates
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "setting.learning-rate-zero",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("learning rate", "learning_rate", "did not change", "no update"),
    needs=("learning-rate",),
    evidence=("huggingface/transformers#20916", "Lightning-AI/litgpt#2151"),
)
def zero_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is zero.

    Effect: everything runs, the loss varies from batch to batch, and no weight ever changes. No error or warning is
    raised. Batch normalization still updates its statistics, so the validation metric may move a little.
    Why it goes undetected: the progress bar moves and `global_step` increases; a loss that fluctuates looks like a hard
    task.
    Example:
        learning_rate = 1e-3 * batch_size // 256        # floor division: 0.0
    Remedy: log the learning rate; assert that parameters changed after the first step.
    """
    return scale_rates(result, 0.0)


@failure_mode(
    "setting.learning-rate-tiny",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("learning rate", "learning_rate", "negligible", "did not improve", "update"),
    doses=(Dose("factor", 1e-3, 0.0, 1.0, "factor for the learning rate", harmless=1.0),),
    needs=("learning-rate",),
    evidence=("isp1tze/MAProj#3",),
)
def shrink_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is far too small.

    Effect: every weight moves by almost nothing, so the model ends about where it began. No error or warning is raised.
    Why it goes undetected: the loss does fall, and a flat curve looks like a model that has converged.
    Example:
        LitModel(learning_rate=1e-6)            # 1e-3 was meant
    Remedy: compare the size of the updates with that of the weights; a thousandth is usual.
    """
    return scale_rates(result, ctx.dose.factor)


@failure_mode(
    "setting.learning-rate-huge",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("learning rate", "learning_rate", "diverge", "explod", "nan", "not finite", "spike"),
    doses=(Dose("factor", 100.0, 1.0, None, "factor for the learning rate", harmless=1.0),),
    needs=("learning-rate",),
    evidence=("facebookresearch/detr#285", "OpenNMT/OpenNMT-tf#744"),
)
def grow_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is far too large.

    Effect: the loss fluctuates or diverges, to infinity and NaN or to a plateau far above where it began. No error or
    warning is raised.
    Why it goes undetected: with normalization layers and a bounded loss nothing overflows; the curve is merely bad.
    Example:
        LitModel(learning_rate=0.1)             # carried over from SGD to Adam
    Remedy: stop if the loss is above that of the first steps; try a range of learning rates (with Lightning,
    `LearningRateFinder`).
    """
    return scale_rates(result, ctx.dose.factor)


@failure_mode(
    "setting.learning-rate-negative",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("learning rate", "learning_rate", "negative", "diverge", "increas", "nan", "not finite"),
    needs=("learning-rate",),
    evidence=("pytorch/pytorch#30889", "GeorgeCazenavette/mtt-distillation#16"),
)
def negate_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is negative, so each step increases the loss.

    Effect: the loss grows, to NaN if it can. torch's optimizers reject a negative rate at construction, but accept one
    that is set in a parameter group later, by hand or by a schedule beyond its end. No error or warning is raised.
    Why it goes undetected: a decay crosses zero late, when the curve is no longer watched.
    Example:
        LambdaLR(optimizer, lambda step: 1 - step / self.expected_steps)    # the run is longer than expected
    Remedy: log the learning rate, and assert that it is positive; use `max(0.0, ...)` in your own schedules.
    """
    return scale_rates(result, -1.0)


@failure_mode(
    "setting.epochs-zero",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("no step", "epoch", "never trained", "did not change"),
    needs=("no-fast-dev-run",),
    evidence=("awslabs/gluonts#2952",),
)
def train_no_epoch(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`max_epochs` is 0, so `fit` returns immediately.

    Effect: no training step runs, and the untrained model is evaluated and saved. Lightning logs at info level that
    `max_epochs=0` was reached, as it does after every training.
    Why it goes undetected: in a pipeline of scripts the next step finds a model and continues; the exit status is 0.
    Example:
        Trainer(max_epochs=epochs - start_epoch)        # resumed at the last epoch
    Remedy: assert after `fit` that `trainer.global_step` has the expected value.
    """
    return {**arguments, "max_epochs": 0}


@failure_mode(
    "setting.steps-short",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("step", "short", "epoch"),
    doses=(
        Dose(
            "fraction",
            0.1,
            0.0,
            1.0,
            "fraction of the run's optimizer steps that is left; at least one step",
            harmless=1.0,
        ),
    ),
    needs=("no-fast-dev-run", "several-updates"),
    evidence=("Lightning-AI/pytorch-lightning#9855",),
)
def stop_after_few_steps(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`max_steps` ends training after a fraction of its steps.

    Effect: Lightning stops in the middle of an epoch, logs at info level that `max_steps` was reached, and returns as
    if training were complete. An epoch that is cut short has no validation, so an EarlyStopping on a validation metric
    raises an error because it is not available.
    Why it goes undetected: it is the usual last line of a log. `max_steps` counts optimizer steps: fewer than the
    batches if gradients are accumulated, and a multiple of them with several optimizers.
    Example:
        Trainer(max_epochs=50, max_steps=1000)          # from a trial run; the first limit ends the run
    Remedy: assert after `fit` that `trainer.current_epoch` has the expected value.
    """
    return {**arguments, "max_steps": max(1, int(ctx.profile.updates * ctx.dose.fraction))}


@failure_mode(
    "setting.limit-train-zero",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("no step", "no training batch", "limit", "never trained", "did not change"),
    needs=("no-fast-dev-run", "no-overfitting"),
    evidence=("ashleve/lightning-hydra-template#206", "Lightning-AI/pytorch-lightning#1903"),
)
def limit_training_to_nothing(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`limit_train_batches` is 0, so there is nothing to train on.

    Effect: `fit` runs the sanity check of validation and returns without a training step. No error or warning is
    raised.
    Why it goes undetected: the exit status is 0, and an untrained model exists that can be evaluated and saved.
    Example:
        Trainer(limit_train_batches=args.limit or 0)    # 0 does not mean "no limit"; None or 1.0 does
    Remedy: assert after `fit` that `trainer.global_step` is not 0.
    """
    return {**arguments, "limit_train_batches": 0}


@failure_mode(
    "setting.limit-validation-zero",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("validat", "limit", "never validated", "not available", "val_loss"),
    needs=("no-fast-dev-run", "no-overfitting", "validation"),
    evidence=("Lightning-AI/pytorch-lightning#1201",),
)
def limit_validation_to_nothing(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`limit_val_batches` is 0, so validation is skipped.

    Effect: no validation step ever runs. No error or warning is raised. At the end of the epoch, an EarlyStopping on a
    validation metric raises an error because it is not available, unless it is checked after validations; then it never
    stops the training.
    Why it goes undetected: without such a callback only a curve is missing.
    Example:
        Trainer(limit_val_batches=0)            # to save time while debugging the training step
    Remedy: assert after `fit` that the validation metrics are in `trainer.callback_metrics`.
    """
    return {**arguments, "limit_val_batches": 0}


@failure_mode(
    "setting.accumulate-too-many",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("accumulat", "step", "update"),
    doses=(Dose("factor", 16, 2, None, "factor for the number of accumulated batches"),),
    needs=("automatic-optimization", "several-steps"),
    evidence=("Lightning-AI/pytorch-lightning#21808",),
)
def accumulate_too_many(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Gradients are accumulated over far too many batches.

    Effect: the weights change that many times less often. No error or warning is raised. Lightning always steps at the
    end of an epoch, so a number above an epoch's batches leaves one step per epoch, but still divides by the full
    number.
    Why it goes undetected: the loss falls, slowly and smoothly; `global_step` is rarely checked.
    Example:
        Trainer(accumulate_grad_batches=256)    # the batch size, in samples, was meant
    Remedy: check that `trainer.global_step` after an epoch is what the schedule expects.
    """
    return {**arguments, "accumulate_grad_batches": ctx.profile.accumulates * int(ctx.dose.factor)}


@failure_mode(
    "setting.clip-tiny",
    seam=TrainerArguments(in_loops="gradient.clip-crushing"),
    severity="major",
    effect="silent",
    cause=("clip", "gradient norm", "grad_norm", "negligible", "update"),
    doses=(
        Dose(
            "factor",
            1e-3,
            0.0,
            1.0,
            "value to clip at; a factor for the current value if there is one",
            harmless=1.0,
        ),
    ),
    needs=("automatic-optimization", "trainer-clips"),
    evidence=("wandb/senpai#978",),
)
def clip_tightly(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Gradients are clipped to far too small a norm.

    Effect: every gradient is cut to that size, whatever it was, and plain SGD almost stops. No error or warning is
    raised. Adam, which divides by the gradient's size, loses little until the numbers approach its epsilon.
    Why it goes undetected: clipping is meant to stabilize training, and the curve is perfectly stable.
    Example:
        Trainer(gradient_clip_val=1e-3)         # the learning rate's value
    Remedy: log the norm of the gradients before clipping, and how often they are clipped.
    """
    return {**arguments, "gradient_clip_val": (ctx.profile.clip_value or 1.0) * ctx.dose.factor}


@failure_mode(
    "setting.fast-dev-run-left-on",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("fast_dev_run", "step", "epoch", "never trained"),
    needs=("no-fast-dev-run",),
    evidence=("Lightning-Universe/lightning-bolts#781",),
)
def leave_fast_dev_run(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`fast_dev_run` is still enabled from debugging.

    Effect: `fit` ends after one training batch and one validation batch. Loggers and checkpoints are suppressed, and
    early stopping is off. Lightning logs this at info level, and returns as if nothing were missing.
    Why it goes undetected: the exit status is 0, and that the job took almost no time shows only the next morning.
    Example:
        Trainer(max_epochs=100, fast_dev_run=True)      # left from debugging shapes
    Remedy: assert after `fit` that `trainer.global_step` has the expected value and that a checkpoint was written.
    """
    return {**arguments, "fast_dev_run": True}


@failure_mode(
    "setting.overfit-batches-left-on",
    seam=TrainerArguments,
    severity="critical",
    effect="warns",
    cause=("overfit", "step", "batch"),
    doses=(Dose("batches", 1, 1, None, "number of training batches"),),
    needs=("no-fast-dev-run", "no-overfitting"),
    evidence=("Lightning-AI/pytorch-lightning#12668",),
)
def leave_overfitting(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`overfit_batches` is still enabled from debugging.

    Effect: each epoch trains on the same one batch and validates on one batch. Lightning warns if it had to disable a
    shuffling sampler; otherwise, no error or warning is raised.
    Why it goes undetected: the training loss falls faster than ever.
    Example:
        Trainer(max_epochs=100, overfit_batches=1)      # to check that the model can learn at all
    Remedy: turn the warning into an error; check that an epoch has as many steps as the data has batches.
    """
    return {**arguments, "overfit_batches": int(ctx.dose.batches)}


@failure_mode(
    "setting.manual-optimization-flag",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("manual", "automatic_optimization", "backward", "no gradient", "did not change"),
    needs=("configured-optimizers", "automatic-optimization", "epoch-limit"),
    evidence=("Lightning-AI/pytorch-lightning#13674", "Lightning-AI/pytorch-lightning#18556"),
)
def optimize_manually(module: torch.nn.Module, ctx: Context) -> None:
    """`automatic_optimization` is False, but the training step does not optimize manually.

    Effect: Lightning calls neither backward nor the optimizer nor the scheduler; no weight ever changes, and
    `global_step` stays 0. No error or warning is raised, unless the Trainer clips or accumulates gradients, which
    Lightning rejects.
    Why it goes undetected: the loss is computed and logged, and varies from batch to batch.
    Example:
        self.automatic_optimization = False     # left from a trial of two optimizers
    Remedy: assert that parameters changed after the first step.
    """
    module.automatic_optimization = False  # type: ignore[assignment]


@failure_mode(
    "setting.patience-wrong",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("patience", "stopped early", "epoch", "step"),
    doses=(Dose("patience", 1, 0, None, "number of validations without improvement that ends training"),),
    needs=("patient-callback",),
    evidence=("NLeSC/mcfly#321",),
)
def lose_patience(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """EarlyStopping has almost no patience.

    Effect: the first validation that is no better than the best one ends training, as a normal end. With a metric that
    fluctuates, as most do, that is long before the model is trained. A patience of 0 is the same as one of 1.
    Why it goes undetected: early stopping is meant to stop early, and the log states that the metric did not improve.
    Example:
        EarlyStopping("val_loss", patience=1)   # counts validations, which run four times per epoch
    Remedy: set a patience of several validations; check `stopped_epoch` after `fit`.
    """
    for callback in filter(stops_early, arguments["callbacks"]):
        callback.patience = min(callback.patience, int(ctx.dose.patience))
    return arguments


@failure_mode(
    "setting.sanity-disabled",
    seam=TrainerArguments,
    severity="minor",
    effect="silent",
    cause=("sanity", "validat"),
    needs=("sanity-check",),
    evidence=("mikkelfo/CORE-BEHRT#89",),
)
def skip_sanity_check(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`num_sanity_val_steps` is 0, so validation is not tried before training.

    Effect: an error in validation shows only after the first epoch, which is then lost. As long as validation works,
    training is identical to the bit, because Lightning restores the random state after the check.
    Why it goes undetected: nothing is wrong, and startup is faster.
    Example:
        Trainer(num_sanity_val_steps=0)         # because the metric failed on two batches of one class
    Remedy: leave the check enabled; make the metrics accept small samples instead.
    """
    return {**arguments, "num_sanity_val_steps": 0}


@failure_mode(
    "setting.hidden-size-wrong",
    seam=ModuleArguments,
    severity="major",
    effect="silent",
    cause=("hidden", "width", "units", "neurons", "did not improve", "capacity"),
    doses=(Dose("units", 1, 1, None, "width of the layer"),),
    needs=("hidden-size",),
    no_evidence="no report of the silent form was found: a layer that is too narrow shows only in the model's quality",
)
def narrow_layer(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """An argument makes a hidden layer far too narrow.

    Effect: everything has to pass through one number, and the model learns what fits through it. No error or warning is
    raised. A module whose parts must divide each other, such as attention heads, raises an error when it is built.
    Why it goes undetected: shapes agree, and the loss falls a little and stays there.
    Example:
        LitModel(hidden=args.layers)            # 1 layer; the width was meant
    Remedy: log the number of parameters; check that the model can overfit a single batch.
    """
    return {**arguments, ctx.profile.hidden_sizes[0]: int(ctx.dose.units)}

"""setting: arguments of the module and the Trainer that were meant otherwise."""

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

    Effect: everything runs, the loss varies from batch to batch, and no weight ever changes. Nobody says a word.
    Batch normalisation still learns its running statistics, so that the validation metric may move a little.
    Why it goes undetected: the progress bar moves and `global_step` counts; a loss that wobbles looks like a hard task.
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
    doses=(Dose("factor", 1e-3, 0.0, 1.0, "what the learning rate is multiplied by", harmless=1.0),),
    needs=("learning-rate",),
    evidence=("isp1tze/MAProj#3",),
)
def shrink_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is far too small.

    Effect: every weight moves, by next to nothing: the model ends about where it began, without a word.
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
    doses=(Dose("factor", 100.0, 1.0, None, "what the learning rate is multiplied by", harmless=1.0),),
    needs=("learning-rate",),
    evidence=("facebookresearch/detr#285", "OpenNMT/OpenNMT-tf#744"),
)
def grow_rate(result: Any, ctx: Context) -> Any:
    """The learning rate is far too large.

    Effect: the loss jumps about or runs away, to infinity and NaN or to a plateau far above where it began. Nobody
    says a word.
    Why it goes undetected: with normalising layers and a bounded loss nothing overflows; the curve is merely bad.
    Example:
        LitModel(learning_rate=0.1)             # carried over from SGD to Adam
    Remedy: stop at a loss that is above that of the first steps; use Lightning's `LearningRateFinder`.
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
    """The learning rate is negative, and each step goes uphill.

    Effect: the loss grows, to NaN if it can. torch's optimizers refuse a negative rate when they are made; one that is
    put into a parameter group later, by hand or by a schedule that runs past its end, they take without a word.
    Why it goes undetected: a decay crosses zero late, when nobody looks at the curve any more.
    Example:
        LambdaLR(optimizer, lambda step: 1 - step / self.expected_steps)    # and the run is longer than expected
    Remedy: log the learning rate, and assert that it is positive; `max(0.0, ...)` in a schedule of one's own.
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
    """`max_epochs` is 0: `fit` returns at once.

    Effect: no training step is done, and the untrained model is what is evaluated and saved. Lightning says at the
    level of information that `max_epochs=0` was reached, as it does at the end of every training.
    Why it goes undetected: in a pipeline of scripts the next step finds a model and goes on; the exit status is 0.
    Example:
        Trainer(max_epochs=epochs - start_epoch)        # resumed at the last one
    Remedy: assert after `fit` that `trainer.global_step` is what was expected.
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
            "the share of the run's optimizer steps that are left, one at least",
            harmless=1.0,
        ),
    ),
    needs=("no-fast-dev-run", "several-updates"),
    evidence=("Lightning-AI/pytorch-lightning#9855",),
)
def stop_after_few_steps(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`max_steps` ends training after a fraction of it.

    Effect: Lightning stops in the middle of an epoch, says at the level of information that `max_steps` was reached,
    and returns as if training were done. An epoch that is cut short so has no validation: an EarlyStopping that waits
    for a validation metric raises that it is not available.
    Why it goes undetected: it is the usual last line of a log. `max_steps` counts optimizer steps: fewer than the
    batches where gradients are accumulated, and a multiple of them with several optimizers.
    Example:
        Trainer(max_epochs=50, max_steps=1000)          # from a trial run; whichever comes first ends it
    Remedy: assert after `fit` that `trainer.current_epoch` is what was expected.
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
    """`limit_train_batches` is 0: there is nothing to train on.

    Effect: `fit` runs the sanity check of validation and returns, without a training step and without a word.
    Why it goes undetected: the exit status is 0, and an untrained model is there to be evaluated and saved.
    Example:
        Trainer(limit_train_batches=args.limit or 0)    # 0 is taken for "no limit"; None or 1.0 is that
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
    """`limit_val_batches` is 0: validation is skipped.

    Effect: no validation step is ever done, without a word. An EarlyStopping on a validation metric raises at the end
    of the epoch that it is not available, unless it waits for validations, and then it never stops anything.
    Why it goes undetected: without such a callback all that is missing is a curve.
    Example:
        Trainer(limit_val_batches=0)            # to save time while the training step was debugged
    Remedy: assert after `fit` that the validation metrics are in `trainer.callback_metrics`.
    """
    return {**arguments, "limit_val_batches": 0}


@failure_mode(
    "setting.accumulate-too-many",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("accumulat", "step", "update"),
    doses=(Dose("factor", 16, 2, None, "how many times as many batches are accumulated"),),
    needs=("automatic-optimization", "several-steps"),
    evidence=("Lightning-AI/pytorch-lightning#21808",),
)
def accumulate_too_many(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Gradients are accumulated over far too many batches.

    Effect: the weights change that many times less often, without a word. Lightning always steps at the end of an
    epoch, so that a number beyond an epoch's batches leaves one step an epoch, and divides by the number all the same.
    Why it goes undetected: the loss falls, slowly and smoothly; `global_step` is seldom looked at.
    Example:
        Trainer(accumulate_grad_batches=256)    # the batch size, in samples, was meant
    Remedy: check that `trainer.global_step` after an epoch is what the schedule counts on.
    """
    return {**arguments, "accumulate_grad_batches": ctx.profile.accumulates * int(ctx.dose.factor)}


@failure_mode(
    "setting.clip-tiny",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("clip", "gradient norm", "grad_norm", "negligible", "update"),
    doses=(
        Dose(
            "factor",
            1e-3,
            0.0,
            1.0,
            "the value to clip at; a share of the value in use where there is one",
            harmless=1.0,
        ),
    ),
    needs=("automatic-optimization", "lightning-clips"),
    evidence=("wandb/senpai#978",),
)
def clip_tightly(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Gradients are clipped to far too small a norm.

    Effect: every gradient is cut to that size, whatever it was, and plain SGD all but stands still, without a word.
    Adam, which divides by the gradient's size, loses little until the numbers come near its epsilon.
    Why it goes undetected: clipping is there for stability, and the curve is perfectly stable.
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
    """`fast_dev_run` is still on from debugging.

    Effect: one training batch, one validation batch, and `fit` is done. Loggers and checkpoints are suppressed, early
    stopping is off. Lightning says so at the level of information, and returns as if nothing were missing.
    Why it goes undetected: the exit status is 0; a job that takes no time at all is found out only in the morning.
    Example:
        Trainer(max_epochs=100, fast_dev_run=True)      # while the shapes were sorted out
    Remedy: assert after `fit` that `trainer.global_step` is what was expected and that a checkpoint was written.
    """
    return {**arguments, "fast_dev_run": True}


@failure_mode(
    "setting.overfit-batches-left-on",
    seam=TrainerArguments,
    severity="critical",
    effect="warns",
    cause=("overfit", "step", "batch"),
    doses=(Dose("batches", 1, 1, None, "how many batches are trained on"),),
    needs=("no-fast-dev-run", "no-overfitting"),
    evidence=("Lightning-AI/pytorch-lightning#12668",),
)
def leave_overfitting(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`overfit_batches` is still on from debugging.

    Effect: each epoch trains on the same one batch and validates on one batch. Lightning warns where it had to switch
    a shuffling sampler off, and is silent where there was none.
    Why it goes undetected: the training loss falls faster than ever.
    Example:
        Trainer(max_epochs=100, overfit_batches=1)      # to see whether the model can learn at all
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
    """`automatic_optimization` is False, and the training step does nothing by hand.

    Effect: Lightning calls neither backward nor the optimizer nor the scheduler; no weight ever changes and
    `global_step` stays 0. Nobody says a word, unless the Trainer clips or accumulates gradients, which it refuses.
    Why it goes undetected: the loss is computed and logged, and varies from batch to batch.
    Example:
        self.automatic_optimization = False     # for a trial of two optimizers, and left there
    Remedy: assert that parameters changed after the first step.
    """
    module.automatic_optimization = False  # type: ignore[assignment]


@failure_mode(
    "setting.patience-wrong",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("patience", "stopped early", "epoch", "step"),
    doses=(Dose("patience", 1, 0, None, "how many validations without improvement end training"),),
    needs=("patient-callback",),
    evidence=("NLeSC/mcfly#321",),
)
def lose_patience(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """EarlyStopping has next to no patience.

    Effect: the first validation that is no better than the best one ends training, as a normal end. With a metric that
    wobbles, as most do, that is long before the model is trained. A patience of 0 is the same as one of 1.
    Why it goes undetected: early stopping is meant to stop early, and the log says that the metric did not improve.
    Example:
        EarlyStopping("val_loss", patience=1)   # it counts validations, and those come four times an epoch
    Remedy: have a patience of several validations; look at `stopped_epoch` after `fit`.
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
    """`num_sanity_val_steps` is 0: validation is not tried before training.

    Effect: a mistake in validation shows only after the first epoch, and costs that. As long as validation works
    training is the same to the bit, since Lightning puts the random numbers back after the check.
    Why it goes undetected: nothing is amiss, and start-up is faster.
    Example:
        Trainer(num_sanity_val_steps=0)         # since the metric failed on two batches of one class
    Remedy: leave the check on; make the metrics bear small samples instead.
    """
    return {**arguments, "num_sanity_val_steps": 0}


@failure_mode(
    "setting.hidden-size-wrong",
    seam=ModuleArguments,
    severity="major",
    effect="silent",
    cause=("hidden", "width", "units", "neurons", "did not improve", "capacity"),
    doses=(Dose("units", 1, 1, None, "how wide the layer is instead"),),
    needs=("hidden-size",),
    no_evidence="no thread of the silent form was found: that a layer is too narrow shows only in how the model does",
)
def narrow_layer(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """An argument makes a hidden layer far too narrow.

    Effect: everything has to pass through one number, and the model learns what fits into it, without a word. A module
    whose parts must divide each other, such as attention heads, raises when it is built.
    Why it goes undetected: shapes agree, the loss falls a little and stays there.
    Example:
        LitModel(hidden=args.layers)            # 1 layer; the width was meant
    Remedy: log the number of parameters; check that the model can overfit a single batch.
    """
    return {**arguments, ctx.profile.hidden_sizes[0]: int(ctx.dose.units)}

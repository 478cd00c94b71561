"""Requirements on the training: its steps and epochs, its optimizers and schedulers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import TargetProfile


@requirement("automatic-optimization")
def _automatic(profile: TargetProfile) -> str:
    if profile.by_hand:
        return "" if profile.automatic else "the function of the training step calls backward itself"
    return "" if profile.automatic else "the module optimizes manually"


@requirement("configured-optimizers")
def _configured_optimizers(profile: TargetProfile) -> str:
    if profile.by_hand:
        return "the training constructs its optimizers and schedulers itself: no hook returns them"
    return "" if "configure_optimizers" in profile.hooks else "no `configure_optimizers` hook returns the optimizers"


@requirement("validation")
def _validation(profile: TargetProfile) -> str:
    return "" if profile.validation_batches else "there is no validation loop"


@requirement("evaluation-mode")
def _evaluation_mode(profile: TargetProfile) -> str:
    return "its validation leaves all modules in training mode" if profile.validates_in_training else ""


@requirement("loss-returned")
def _loss_returned(profile: TargetProfile) -> str:
    return "" if profile.output in ("tensor", "dict") else "the training step returns no loss"


@requirement("several-terms")
def _several_terms(profile: TargetProfile) -> str:
    return "" if profile.first_step.loss_terms > 1 else "the loss is not a sum of terms"


@requirement("several-steps")
def _several_steps(profile: TargetProfile) -> str:
    return "" if profile.steps > 1 else "the run has a single step"


@requirement("several-optimized")
def _several_optimized(profile: TargetProfile) -> str:
    return "" if profile.optimized_tensors > 1 else "the optimizers hold a single parameter of the module"


@requirement("epsilon")
def _epsilon(profile: TargetProfile) -> str:
    return "" if "eps" in profile.optimizer_settings else "no optimizer has an epsilon"


@requirement("weight-decay")
def _weight_decay(profile: TargetProfile) -> str:
    return "" if "weight_decay" in profile.optimizer_settings else "no optimizer has weight decay"


@requirement("decaying-weights")
def _decaying_weights(profile: TargetProfile) -> str:
    return "" if profile.decays else "no optimizer has a weight decay other than 0"


@requirement("optimizer-state")
def _optimizer_state(profile: TargetProfile) -> str:
    if not profile.optimizer_state or profile.first_update is None:
        return "no optimizer keeps state between steps"
    return "" if profile.first_update < profile.steps // 2 else "no optimizer is stepped in the first half of the run"


@requirement("scheduler")
def _scheduler(profile: TargetProfile) -> str:
    return "" if profile.schedulers else "there is no scheduler"


@requirement("epoch-scheduler")
def _epoch_scheduler(profile: TargetProfile) -> str:
    per_epoch = "epoch" in profile.scheduler_intervals
    return _scheduler(profile) or ("" if per_epoch else "no scheduler is stepped once an epoch")


@requirement("warm-up")
def _warm_up(profile: TargetProfile) -> str:
    return _scheduler(profile) or ("" if profile.warm_up else "the learning rate is at its highest in the first step")


@requirement("step-scheduler")
def _step_scheduler(profile: TargetProfile) -> str:
    per_step = "step" in profile.scheduler_intervals
    return _scheduler(profile) or ("" if per_step else "no scheduler is stepped in every step")


@requirement("group-rates")
def _group_rates(profile: TargetProfile) -> str:
    return "" if "lr" in profile.group_settings else "the parameter groups of an optimizer have the same learning rate"


@requirement("spared-groups")
def _spared_groups(profile: TargetProfile) -> str:
    spared = "weight_decay" in profile.group_settings
    return _decaying_weights(profile) or ("" if spared else "no parameter group is spared the weight decay of others")


@requirement("training-after-validation")
def _training_after_validation(profile: TargetProfile) -> str:
    if profile.first_validation is None:
        return "there is no validation loop"
    return "" if profile.first_validation < profile.steps - 1 else "no training follows the first validation"


@requirement("several-epochs")
def _several_epochs(profile: TargetProfile) -> str:
    if not profile.epochs:
        return "no loader counts the epochs"
    return "" if profile.epochs > 1 else "the run has a single epoch"

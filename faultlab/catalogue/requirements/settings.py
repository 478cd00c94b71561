"""Requirements on the settings of the module and the Trainer."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core import framework_names
from faultlab.core.target_profile import TargetProfile


@requirement("learning-rate")
def _learning_rate(profile: TargetProfile) -> str:
    return "" if profile.learning_rate else "no optimizer has a learning rate"


@requirement("several-updates")
def _several_updates(profile: TargetProfile) -> str:
    if profile.past_trainer:
        return "the module steps torch's own optimizers, which max_steps does not count"
    return "" if profile.updates > 1 else "the clean run steps its optimizers at most once"


@requirement("no-fast-dev-run")
def _no_fast_dev_run(profile: TargetProfile) -> str:
    return "the Trainer's fast_dev_run is on, which overrides other settings" if "fast_dev_run" in profile.flags else ""


@requirement("no-overfitting")
def _no_overfitting(profile: TargetProfile) -> str:
    return "the Trainer's overfit_batches is on, which sets the limits" if "overfit_batches" in profile.flags else ""


@requirement("no-anomaly-detection")
def _no_anomaly_detection(profile: TargetProfile) -> str:
    return "the Trainer already detects anomalies" if "detect_anomaly" in profile.flags else ""


@requirement("sanity-check")
def _sanity_check(profile: TargetProfile) -> str:
    if not profile.validation_batches:
        return "there is no validation loop"
    return "" if "num_sanity_val_steps" in profile.flags else "the Trainer runs no sanity check"


@requirement("trainer-clips")
def _trainer_clips(profile: TargetProfile) -> str:
    return "the module clips its gradients itself" if profile.clips_itself else ""


@requirement("epoch-limit")
def _epoch_limit(profile: TargetProfile) -> str:
    return "only a number of steps ends the training, and the fault prevents these steps" if profile.endless else ""


@requirement("hidden-size")
def _hidden_size(profile: TargetProfile) -> str:
    return "" if profile.hidden_sizes else "no argument of the module is the width of a hidden layer"


@requirement("patient-callback")
def _patient_callback(profile: TargetProfile) -> str:
    if not profile.patience:
        return "no callback passed to the Trainer stops early"
    return "" if max(profile.patience.values()) > 1 else "no callback has a patience of more than one validation"


@requirement("early-stopping")
def _early_stopping(profile: TargetProfile) -> str:
    return "" if profile.patience else "no callback passed to the Trainer stops early"


@requirement("ranking-callback")
def _ranking_callback(profile: TargetProfile) -> str:
    known = "no callback passed to the Trainer ranks by a metric"
    return "" if profile.ranking else known


@requirement("mixed-precision")
def _mixed_precision(profile: TargetProfile) -> str:
    if profile.by_hand:
        return f"only {framework_names.title()}'s Trainer declares its precision"
    return "" if profile.precision.endswith("mixed") else "the Trainer does not use mixed precision"


@requirement("not-half")
def _not_half(profile: TargetProfile) -> str:
    return "the model is already in half precision" if profile.precision == "16-true" else ""


@requirement("not-bfloat")
def _not_bfloat(profile: TargetProfile) -> str:
    return "the model is already in bfloat16" if profile.precision == "bf16-true" else ""

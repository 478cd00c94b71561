"""Requirements on the reports of the target: the metrics that it logs, and how."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import TargetProfile


@requirement("validation-metrics")
def _validation_metrics(profile: TargetProfile) -> str:
    return "" if profile.logged_in_validation else "nothing is logged in validation"


@requirement("validation-numbers")
def _validation_numbers(profile: TargetProfile) -> str:
    numbers = set(profile.logged_in_validation) - set(profile.logged_objects)
    return _validation_metrics(profile) or ("" if numbers else "no numbers are logged in validation, only objects")


@requirement("training-numbers")
def _training_numbers(profile: TargetProfile) -> str:
    return (
        "" if profile.logged_before_validation else "no number is logged in training before one is logged in validation"
    )


@requirement("training-loss-logged")
def _training_loss_logged(profile: TargetProfile) -> str:
    logged = any("loss" in name.lower() for name in profile.logged_in_training)
    return "" if logged else "no loss is logged in training"


@requirement("later-logger-call")
def _later_logger_call(profile: TargetProfile) -> str:
    late = profile.last_logged is not None and profile.last_logged >= profile.steps // 2
    return "" if late else "nothing reaches the logger halfway or later"


@requirement("several-validation-batches")
def _several_validation_batches(profile: TargetProfile) -> str:
    if profile.validation_reports is not None:
        return "" if profile.validation_reports > 1 else "the training reports its validation only once"
    return "" if profile.validation_batches > 1 else "the run validates on a single batch"


@requirement("epoch-means")
def _epoch_means(profile: TargetProfile) -> str:
    own = "the training averages its batches itself" if profile.validation_reports is not None else ""
    return own or _several_validation_batches(profile)


@requirement("uneven-validation")
def _uneven_validation(profile: TargetProfile) -> str:
    if profile.validation_reports is not None:
        return "the training averages its batches itself"
    facts = profile.validation_loading
    if not profile.validation_batches:
        return "there is no validation loop"
    if facts is None:
        return "the validation data does not come from a DataLoader"
    # An uneven loader of one batch has nothing to average.
    several = facts.uneven and (facts.samples or 0) > (facts.batch_size or 0)
    return "" if several else "all validation batches have the same size"

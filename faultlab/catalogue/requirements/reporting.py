"""What a failure mode may need of what the target reports: the metrics that it logs, and how."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import Recon


@requirement("validation-metrics")
def _validation_metrics(recon: Recon) -> str:
    return "" if recon.logged_in_validation else "the module logs nothing in validation"


@requirement("validation-numbers")
def _validation_numbers(recon: Recon) -> str:
    numbers = set(recon.logged_in_validation) - set(recon.logged_objects)
    return _validation_metrics(recon) or ("" if numbers else "the module logs no numbers in validation, only objects")


@requirement("training-numbers")
def _training_numbers(recon: Recon) -> str:
    return "" if recon.logged_before_validation else "no number of training is logged before one of validation is"


@requirement("training-loss-logged")
def _training_loss_logged(recon: Recon) -> str:
    logged = any("loss" in name.lower() for name in recon.logged_in_training)
    return "" if logged else "the module logs no loss in training"


@requirement("later-logger-call")
def _later_logger_call(recon: Recon) -> str:
    late = recon.last_logged is not None and recon.last_logged >= recon.steps // 2
    return "" if late else "nothing reaches the logger half-way or later"


@requirement("several-validation-batches")
def _several_validation_batches(recon: Recon) -> str:
    return "" if recon.validation_batches > 1 else "the run validates on a single batch"


@requirement("uneven-validation")
def _uneven_validation(recon: Recon) -> str:
    facts = recon.validation_loading
    if not recon.validation_batches:
        return "there is no validation loop"
    if facts is None:
        return "the validation data comes from no DataLoader"
    # An uneven loader of one batch has nothing to average.
    several = facts.uneven and (facts.samples or 0) > (facts.batch_size or 0)
    return "" if several else "all batches of validation are of one size"

"""What a failure mode may need of the training: its steps and epochs, its optimizers and schedulers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import Recon


@requirement("automatic-optimization")
def _automatic(recon: Recon) -> str:
    return "" if recon.automatic else "the module optimises manually"


@requirement("validation")
def _validation(recon: Recon) -> str:
    return "" if recon.validation_batches else "there is no validation loop"


@requirement("loss-returned")
def _loss_returned(recon: Recon) -> str:
    return "" if recon.output in ("tensor", "dict") else "training_step returns no loss"


@requirement("several-steps")
def _several_steps(recon: Recon) -> str:
    return "" if recon.steps > 1 else "the run has a single step"


@requirement("several-optimized")
def _several_optimized(recon: Recon) -> str:
    return "" if recon.optimized_tensors > 1 else "the optimizers hold a single parameter of the module"


@requirement("epsilon")
def _epsilon(recon: Recon) -> str:
    return "" if "eps" in recon.optimizer_settings else "no optimizer has an epsilon"


@requirement("weight-decay")
def _weight_decay(recon: Recon) -> str:
    return "" if "weight_decay" in recon.optimizer_settings else "no optimizer has weight decay"


@requirement("decaying-weights")
def _decaying_weights(recon: Recon) -> str:
    return "" if recon.decays else "no optimizer has a weight decay other than 0"


@requirement("optimizer-state")
def _optimizer_state(recon: Recon) -> str:
    if not recon.optimizer_state or recon.first_update is None:
        return "no optimizer remembers anything from step to step"
    return "" if recon.first_update < recon.steps // 2 else "no optimizer is stepped in the first half of the run"


@requirement("scheduler")
def _scheduler(recon: Recon) -> str:
    return "" if recon.schedulers else "no scheduler is configured"


@requirement("epoch-scheduler")
def _epoch_scheduler(recon: Recon) -> str:
    per_epoch = "epoch" in recon.scheduler_intervals
    return _scheduler(recon) or ("" if per_epoch else "no scheduler is stepped once an epoch")


@requirement("training-after-validation")
def _training_after_validation(recon: Recon) -> str:
    if recon.first_validation is None:
        return "there is no validation loop"
    return "" if recon.first_validation < recon.steps - 1 else "no training follows the first validation"


@requirement("several-epochs")
def _several_epochs(recon: Recon) -> str:
    return "" if recon.epochs > 1 else "the run has a single epoch"

"""The number of batches of a validation, however its loaders are combined."""

from __future__ import annotations

import math

from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView


def promised_batches(trainer: TrainingView, sanity: bool | None = None) -> float:
    """Return how often a validation calls the module's step, infinity if unknown.

    Args:
        trainer: The training.
        sanity: Whether the validation is the sanity check; None to ask the view.
    """
    checks = trainer.sanity_checking if sanity is None else sanity
    counts = trainer.num_sanity_val_batches if checks else trainer.num_val_batches
    # A loader without a length promises nothing, even though the sanity check has a limit.
    if not counts or not parameter_samples.counted(trainer.val_dataloaders):
        return math.inf
    mode, each = trainer.validation_mode, list[float](counts)
    if mode == "min_size":
        return min(each)
    return max(each) if mode.startswith("max_size") else sum(each)

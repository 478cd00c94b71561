"""How many batches a validation is to have, whatever its loaders are combined to."""

from __future__ import annotations

import math

from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView


def promised_batches(trainer: TrainingView, sanity: bool | None = None) -> float:
    """The number of times that a validation calls the module's step; infinity where nobody knows.

    Args:
        trainer: The training.
        sanity: Whether the validation is the sanity check; the view is asked where this is None.
    """
    checks = trainer.sanity_checking if sanity is None else sanity
    counts = trainer.num_sanity_val_batches if checks else trainer.num_val_batches
    # A loader without a length promises nothing, though the sanity check's own limit is a number.
    if not counts or not parameter_samples.counted(trainer.val_dataloaders):
        return math.inf
    mode, each = trainer.validation_mode, list[float](counts)
    if mode == "min_size":
        return min(each)
    return max(each) if mode.startswith("max_size") else sum(each)

"""How many batches a validation is to have, whatever its loaders are combined to."""

from __future__ import annotations

import math
from typing import Any

from faultlab.guards.support import parameter_samples


def promised_batches(trainer: Any, sanity: bool | None = None) -> float:
    """The number of times that a validation calls the module's step; infinity where nobody knows.

    Args:
        trainer: The Trainer, or what stands for it in a loop by hand.
        sanity: Whether the validation is the sanity check; the Trainer is asked where this is None.
    """
    name = "num_sanity_val_batches" if (trainer.sanity_checking if sanity is None else sanity) else "num_val_batches"
    counts: list[float] | None = getattr(trainer, name, None)
    # A loader without a length promises nothing, though the sanity check's own limit is a number.
    if (
        not isinstance(counts, list)
        or not counts
        or not parameter_samples.counted(getattr(trainer, "val_dataloaders", None))
    ):
        return math.inf
    mode, each = _mode(trainer), list[float](counts)
    if mode == "min_size":
        return min(each)
    return max(each) if mode.startswith("max_size") else sum(each)


def _mode(trainer: Any) -> str:
    """How several validation loaders are combined: one after the other unless the user has said otherwise."""
    loop = getattr(getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None), "val_loop", None)
    return str(getattr(getattr(loop, "_combined_loader", None), "_mode", "") or "")

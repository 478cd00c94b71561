"""The writer of a file: code that keeps the results of a training, or code that may be preparing its data."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import sys
from types import FrameType

from faultlab.core import packages

# Packages that write results of a training: logs, configurations, checkpoints.
_OF_RESULTS = (
    "aim",
    "clearml",
    "comet_ml",
    "dvclive",
    "hydra",
    "logging",
    "mlflow",
    "neptune",
    "swanlab",
    "tensorboard",
    "tensorboardX",
    "torch.utils.tensorboard",
    "wandb",
    *packages.TRAIN,
)
# Packages that write on behalf of their callers.
_FOR_OTHERS = frozenset(
    (*sys.stdlib_module_names, "faultlab", "fsspec", "numpy", "omegaconf", "pandas", "torch", "yaml")
)


def keeps_results() -> bool:
    """Return whether a package that writes results of a training is about to write."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if any(name == package or name.startswith(f"{package}.") for package in _OF_RESULTS):
            return True
        if name.partition(".")[0] not in _FOR_OTHERS or name == "__main__":
            return False
        frame = frame.f_back
    return False

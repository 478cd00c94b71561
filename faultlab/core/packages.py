"""The names of packages that run trainings, as data: nothing of them is imported."""

from __future__ import annotations

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")
"""Modules that hold a framework's classes."""
TRAIN = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities")
"""Top-level packages of frameworks."""
DISTRIBUTIONS = ("pytorch-lightning", "lightning")
"""Frameworks by distribution name; a process uses one of them."""
LOGGERS = (
    "pytorch_lightning",
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning_fabric",
    "transformers",
    "datasets",
)
"""Loggers of frameworks whose records do not propagate to the root logger."""
OWN_OPTIMIZERS = {"fastai": "fastai", "keras": "Keras"}
"""Frameworks, by package, whose optimizers are not torch's, so that faultlab can't break their trainings."""

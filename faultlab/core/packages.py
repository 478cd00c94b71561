"""The names of packages that run trainings, as data: nothing of them is imported."""

from __future__ import annotations

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")
"""Modules that hold a framework's classes."""
TOPS = tuple(name.partition(".")[0] for name in NAMESPACES)
"""The top-level packages of these modules."""
TRAIN = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities")
"""Top-level packages of frameworks."""
FABRIC = ("lightning.fabric", "lightning_fabric")
"""Modules of the library for loops that comes with a framework."""
OUTPUT_FOLDERS = ("lightning_logs", "wandb", "mlruns")
"""Folders that trainings write to by default."""
WRAPPED_STEP = "LightningOptimizer.step"
"""The step of the wrapper that a Trainer puts around an optimizer, as target profiles name it."""
NO_OPTIMIZER = "_MockOptimizer"
"""The class of a Trainer's optimizer for modules that have none; it does nothing."""
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

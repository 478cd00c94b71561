"""Packages that drive trainings, by name: what they are called is data, and nothing of them is imported for it."""

from __future__ import annotations

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")
"""Modules that hold a framework's classes."""
TRAIN = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities")
"""Top-level packages of frameworks."""
DISTRIBUTIONS = ("pytorch-lightning", "lightning")
"""Frameworks as they are installed, of which a process has one."""
LOGGERS = ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric")
"""Loggers of frameworks, whose records do not reach the root."""

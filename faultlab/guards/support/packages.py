"""The packages whose Trainers call guards, by name. Classes of theirs are not the user's."""

from __future__ import annotations

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")
"""Modules with a Trainer and a Callback class."""
_TOPS = ("pytorch_lightning", "lightning", "lightning_fabric")


def stock(cls: type) -> bool:
    """Return whether a class belongs to one of these packages."""
    return cls.__module__.partition(".")[0] in _TOPS

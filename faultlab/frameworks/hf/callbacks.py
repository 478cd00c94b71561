"""The callbacks of a Trainer that judge the training: the user's own, and those of transformers that stop it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_OTHERS = ("transformers", "trl", "sentence_transformers")
_JUDGING = ("EarlyStoppingCallback",)


def judges(callback: Any) -> bool:
    """Return whether a callback counts as a guard: not those that only log, show progress or save."""
    cls = type(callback)
    return cls.__module__.partition(".")[0] not in _OTHERS or cls.__name__ in _JUDGING


def name_among(callback: Any, known: Collection[str]) -> str:
    """Return the class name of a callback, numbered if another callback has that name already."""
    name = type(callback).__name__
    count = sum(other.partition("-")[0] == name for other in known)
    return f"{name}-{count + 1}" if count else name


def named(callback: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return the guards that a callback consists of by class name, numbered where the name is already known."""
    members = getattr(callback, "guards", None)
    found: dict[str, Any] = {}
    for guard in members if isinstance(members, list) else [callback]:
        found[name_among(guard, {**known, **found})] = guard
    return found

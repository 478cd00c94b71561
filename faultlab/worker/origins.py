"""Where the classes of a target and its guards come from: results of other code are not this code's."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Any

from faultlab.core.asking import asked
from faultlab.frameworks.base import Training


def digest(training: Training | None) -> str:
    """Return a hash of the files that define the target and its guards."""
    parts = [*training.parts(), *training.guards.values()] if training else []
    classes = {cls for part in parts for cls in (part if isinstance(part, type) else type(part)).__mro__}
    total = hashlib.sha256()
    for file in sorted({file for cls in classes - {object} if (file := _file(cls))}):
        with contextlib.suppress(OSError):
            total.update(Path(file).read_bytes())
    return total.hexdigest()


def defined(training: Training | None) -> dict[str, list[tuple[str, str]]]:
    """Return the files and names of the classes that the target and its guards are made of."""
    if training is None:
        return {"target": [], "guards": []}
    module, *others = [part for part in training.parts() if not isinstance(part, type)]
    target = [module, *others, *(asked(part, "dataset") for part in others)]
    return {"target": _named(target), "guards": _named([*training.guards.values()])}


def _named(parts: list[Any]) -> list[tuple[str, str]]:
    return [(file, type(part).__qualname__) for part in parts if (file := _file(type(part)))]


def _file(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""

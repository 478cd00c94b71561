"""Facts about the process of a probing run, and the files of its target's and guards' classes."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from faultlab.core.asking import asked
from faultlab.core.resource_limits import private_memory
from faultlab.core.results import Circumstances
from faultlab.frameworks.base import Training


def circumstances(training: Training | None, imported_before: Collection[str]) -> Circumstances:
    """Return the facts about this process; ``imported_before`` are the modules imported before the run."""
    return Circumstances(
        versions=training.versions() if training else {},
        private=private_memory(),
        imported=[name for name in sys.modules if name not in imported_before],
        sources=_digest(training),
        defined=_defined(training),
    )


def _digest(training: Training | None) -> str:
    """Return a hash of the files that define the target and its guards: results of other code don't apply."""
    parts = [*training.parts(), *training.guards.values()] if training else []
    classes = {cls for part in parts for cls in (part if isinstance(part, type) else type(part)).__mro__}
    total = hashlib.sha256()
    for file in sorted({file for cls in classes - {object} if (file := _file(cls))}):
        with contextlib.suppress(OSError):
            total.update(Path(file).read_bytes())
    return total.hexdigest()


def _defined(training: Training | None) -> dict[str, list[tuple[str, str]]]:
    """Return the files and names of the classes of the target and its guards."""
    if training is None:
        return {"target": [], "guards": []}
    module, *others = [part for part in training.parts() if not isinstance(part, type)]
    target = [module, *others, *(asked(part, "dataset") for part in others)]
    return {"target": _named(target), "guards": _named([*training.guards.values()])}


def _named(parts: list[Any]) -> list[tuple[str, str]]:
    return [(file, type(part).__qualname__) for part in parts if (file := _file(type(part)))]


def _file(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""

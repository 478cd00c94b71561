"""What a probing run tells of its process and of the code that it ran."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sys
from collections.abc import Collection
from pathlib import Path

from faultlab.core.asking import asked
from faultlab.core.resource_limits import private_memory
from faultlab.core.results import Circumstances
from faultlab.frameworks.lightning.target import Built


def circumstances(built: Built | None, imported_before: Collection[str]) -> Circumstances:
    """What is to know of this process; ``imported_before`` are the modules that the run has found imported."""
    return Circumstances(
        versions=_versions(built),
        private=private_memory(),
        imported=[name for name in sys.modules if name not in imported_before],
        sources=_sources(built),
        defined=_defined(built),
    )


def _sources(built: Built | None) -> str:
    """A hash of the files that define the target and its guards: results of other code are not this code's."""
    parts = [built.module, built.trainer_class, *built.fit.values(), *built.guards.values()] if built else []
    classes = {cls for part in parts for cls in (part if isinstance(part, type) else type(part)).__mro__}
    files = {file for cls in classes - {object} if (file := getattr(sys.modules.get(cls.__module__), "__file__", None))}
    total = hashlib.sha256()
    for file in sorted(files):
        with contextlib.suppress(OSError):
            total.update(Path(file).read_bytes())
    return total.hexdigest()


def _defined(built: Built | None) -> dict[str, list[tuple[str, str]]]:
    """The files and names of the classes that the target and its guards are made of."""
    if built is None:
        return {"target": [], "guards": []}
    loaders = [asked(part, "dataset") for part in built.fit.values()]
    parts = {"target": [built.module, *built.fit.values(), *loaders], "guards": [*built.guards.values()]}
    return {
        kind: [
            (file, type(part).__qualname__)
            for part in found
            if (file := getattr(sys.modules.get(type(part).__module__), "__file__", None))
        ]
        for kind, found in parts.items()
    }


def _versions(built: Built | None) -> dict[str, str]:
    names = ["torch", built.namespace.__name__.partition(".")[0] if built else "pytorch_lightning"]
    return {
        name.replace("pytorch_", ""): str(getattr(importlib.import_module(name), "__version__", "")) for name in names
    }

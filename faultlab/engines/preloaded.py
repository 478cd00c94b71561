"""Packages that are imported ahead of use: which ones may be, and whether their files are unchanged.

Only installed packages are imported ahead. The user's own code changes between commands, and every scenario imports it
again.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import random
import site
import sys
import sysconfig
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.core import packages
from faultlab.engines.inherited import take_over

_OF_EVERY_TRAINING = frozenset(("faultlab", "torch", "torchmetrics", *packages.TRAIN))
# The clock of files may lag behind the one that is read here by this many nanoseconds.
_COARSE = 20_000_000


class Learning:
    """Records, from its construction, which installed modules are imported and how the environment changes."""

    def __init__(self) -> None:
        self._known = set(sys.modules)
        self._environment = dict(os.environ)

    def learnt(self, own: Collection[str]) -> dict[str, Any]:
        """Return the record in the form of `Preloaded.add`, in the order of the imports.

        ``own`` are the packages of the user's code, which may be installed as well.
        """
        roots, left_out = _roots(), set(own) - _OF_EVERY_TRAINING
        modules = [
            name
            for name, module in list(sys.modules.items())
            if name not in self._known and _within(_origin(module), roots) and name.partition(".")[0] not in left_out
        ]
        return {"modules": modules, "environment": _difference(self._environment)}


class Preloaded:
    """The modules that this process has imported, with their files.

    ``began`` is when its first import may have begun, in nanoseconds since the epoch.
    """

    def __init__(self, began: int) -> None:
        self.environment: dict[str, str | None] = {}
        self._began = began
        self._roots = _roots()
        self._full_path = list(sys.path)
        self._files: dict[str, tuple[int, ...]] = {}

    def leave_projects(self) -> None:
        """Let imports find only what is installed from now on."""
        sys.path[:] = [folder for folder in sys.path if _within(os.path.join(folder, ""), self._roots)]

    def add(self, learnt: dict[str, Any]) -> str:
        """Import the modules; return why this process must not be copied now, or an empty string."""
        self._began = time.time_ns()
        before, known = dict(os.environ), set(sys.modules)
        for name in learnt["modules"]:
            if self._installed(name.partition(".")[0]):
                import_quietly(name)
        new = _difference(before)
        self.environment.update(new)
        if strange := [name for name in set(sys.modules) - known if self._foreign(sys.modules[name])]:
            return f"importing them also imports {', '.join(sorted(strange)[:3])}"
        # A package may read what the user's code sets before it imports the package.
        if set(learnt["environment"].items()) - set(new.items()):
            return "the user's code changes the environment"
        return self.record()

    def record(self) -> str:
        """Record the files of new imports; return why this process must not be copied, or an empty string."""
        files = [*self._roots, *filter(None, map(_origin, list(sys.modules.values())))]
        for file in files:
            if file not in self._files and (stamp := _stamp(file)):
                self._files[file] = stamp
                if os.path.isfile(file) and max(stamp[:2]) > self._began - _COARSE:
                    return f"{file} changed while it was imported"
        if len(os.listdir("/proc/self/task")) > 1:
            return "an imported package has started threads"
        torch = sys.modules.get("torch")
        return "CUDA has been initialized" if torch is not None and torch.cuda.is_initialized() else ""

    def lacking(self, learnt: dict[str, Any], unfit: set[str]) -> dict[str, Any]:
        """Return the part of what was learned that is not imported yet and not unfit."""
        lacking = [name for name in learnt["modules"] if name not in sys.modules and name not in unfit]
        return {**learnt, "modules": lacking}

    def changed(self) -> bool:
        """Return True if a file that was imported has changed, or packages were installed or removed."""
        return any(_stamp(file) != stamp for file, stamp in self._files.items())

    def shadowed(self, folders: Iterable[str]) -> str:
        """Return the name of an imported module that the folders, searched first, would replace; else ""."""
        here = {name: _origin(module) for name, module in list(sys.modules.items()) if "." not in name}
        here.pop("__main__", None)
        for folder in dict.fromkeys([*folders, *(entry for entry in self._full_path if entry not in sys.path)]):
            for name in {entry.partition(".")[0] for entry in _listed(folder)} & set(here):
                found = importlib.machinery.PathFinder.find_spec(name, [folder])
                origin = found.origin if found is not None and found.has_location else ""
                if origin and here[name] and os.path.realpath(origin) != os.path.realpath(here[name]):
                    return name
        return ""

    def begin(self, handed: dict[str, Any]) -> None:
        """Turn this process into one that was just started by the sender and had imported as much."""
        take_over(handed)
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        sys.path[:] = self._full_path
        importlib.invalidate_caches()
        # A starting process draws these; otherwise they would be the same for every command.
        random.seed()
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed()

    def _installed(self, package: str) -> bool:
        if package in sys.modules:
            return not self._foreign(sys.modules[package])
        found = importlib.machinery.PathFinder.find_spec(package)
        return found is not None and _within(found.origin or "", self._roots)

    def _foreign(self, module: ModuleType) -> bool:
        origin = _origin(module)
        return bool(origin) and not _within(origin, self._roots)


def of_every_training(learnt: dict[str, Any]) -> dict[str, Any]:
    """Return the part whose imports take the same path whatever the user's code did before."""
    modules = [name for name in learnt["modules"] if name.partition(".")[0] in _OF_EVERY_TRAINING]
    return {"modules": modules, "environment": {}}


def import_quietly(name: str) -> None:
    """Import a module if possible: some recorded modules have no file and were created by others."""
    try:
        importlib.import_module(name)
    except Exception:
        return


def import_worker() -> None:
    """Import what every scenario's runs need of faultlab, whatever they train with; importing injectors takes longest.

    What chooses between frameworks, as the guards do, is left to the scenario.
    """
    from faultlab.injection import registry

    for name in ("bootstrap", "dispatch"):
        importlib.import_module(f"faultlab.worker.{name}")
    registry.load_own()


def _roots() -> tuple[str, ...]:
    """Return the folders of what is installed: packages, the standard library and faultlab itself."""
    folders = [*site.getsitepackages(), *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))]
    folders += [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    # Those of another interpreter, added by a .pth file among this one's packages.
    folders += [folder for folder in sys.path if os.path.basename(folder) in ("site-packages", "dist-packages")]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    folders.append(str(Path(__file__).parents[1]))
    found = {name for folder in folders for name in (folder, os.path.realpath(folder)) if os.path.isdir(folder)}
    return tuple(sorted(found))


def _within(file: str, roots: Sequence[str]) -> bool:
    return any(file.startswith(root + os.sep) for root in roots)


def _origin(module: ModuleType) -> str:
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None
    return origin if isinstance(origin, str) and os.path.isabs(origin) else ""


def _stamp(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _difference(before: dict[str, str]) -> dict[str, str | None]:
    """Return the changes of the environment since; None for removed variables."""
    now = dict(os.environ)
    return {name: now.get(name) for name in {*before, *now} if before.get(name) != now.get(name)}

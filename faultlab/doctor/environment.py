"""Checks of the environment: versions, forks, disk, memory, threads. Imports nothing heavy, so that they are quick."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faultlab import engines
from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.engines import processes

ENVIRONMENT = Checks()
check = ENVIRONMENT.check

# The versions that the tests ran with; the requirements refuse older ones, newer ones are only untested.
_OLDEST = {"torch": (2, 4), "pytorch-lightning": (2, 4), "lightning": (2, 4), "mutmut": (3, 8), "pytest": (8, 2)}
_NEWEST = {"torch": (2, 13), "pytorch-lightning": (2, 6), "lightning": (2, 6), "mutmut": (3, 8), "pytest": (9, 2)}
_LEAST_DISK, _LEAST_MEMORY = 1.0, 2.0
_GB = 2**30


@check("python")
def python(seen: Seen) -> Iterator[Finding]:
    """Check that Python is new enough."""
    version = platform.python_version()
    if tuple(sys.version_info) < (3, 10):
        yield wrong(f"Python {version} is too old", sys.executable, "Use Python 3.10 or newer.")
    else:
        yield fine(f"Python {version}", sys.executable)


@check("packages")
def packages(seen: Seen) -> Iterator[Finding]:
    """Check that torch, Lightning, mutmut and pytest are installed in tested versions."""
    for name, oldest in _OLDEST.items():
        version = _version(name)
        if not version:
            if name != "lightning":
                yield wrong(f"{name} is not installed", "", f"Run `python -m pip install {name}`.")
            continue
        number = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if number < oldest:
            least = ".".join(map(str, oldest))
            yield wrong(f"{name} {version} is too old", "", f"Run `python -m pip install '{name}>={least}'`.")
        elif number > _NEWEST[name]:
            tried = ".".join(map(str, _NEWEST[name]))
            remedy = f"If something misbehaves, try {name} {tried}."
            yield attention(f"{name} {version} is newer than the newest tested version, {tried}", "", remedy)
        else:
            yield fine(f"{name} {version}")


@check("Lightning packages", "Lightning-AI/pytorch-lightning#19252")
def two_lightnings(seen: Seen) -> Iterator[Finding]:
    """Find two Lightning packages in different versions; their classes are not interchangeable."""
    plain, unified = _version("pytorch-lightning"), _version("lightning")
    if plain and unified and plain != unified:
        yield attention(
            f"pytorch-lightning {plain} and lightning {unified} are installed in different versions",
            "`lightning.pytorch.Trainer` does not accept a `pytorch_lightning.LightningModule`, nor the other way "
            "around",
            "Import from only one of them, and install both in the same version.",
        )


@check("fork")
def fork(seen: Seen) -> Iterator[Finding]:
    """Check that processes can be forked, which makes campaigns fast."""
    if hasattr(os, "fork"):
        yield fine("processes can be forked")
    else:
        yield attention("this system can't fork", platform.system(), "Use --engine spawn; campaigns take longer.")


@check("cores")
def cores(seen: Seen) -> Iterator[Finding]:
    """Report how many runs are executed at a time, and with how many threads each."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    said = f"OMP_NUM_THREADS={threads}" if threads else "OMP_NUM_THREADS is not set"
    yield fine(f"{engines.cores()} cores, as many runs at a time", f"{said}; each of faultlab's runs uses one thread")


@check("temporary folder")
def temporary(seen: Seen) -> Iterator[Finding]:
    """Check that runs can write temporary files."""
    try:
        with tempfile.NamedTemporaryFile(prefix="faultlab-") as file:
            file.write(b"x")
            folder = Path(file.name).parent
    except OSError as error:
        yield wrong("temporary files can't be written", str(error), "Set TMPDIR to a writable folder.")
        return
    free = shutil.disk_usage(folder).free / _GB
    if free < _LEAST_DISK:
        yield attention(
            f"{free:.1f} GB free in {folder}", "", "Free some space, or set TMPDIR to a folder that has more."
        )
    else:
        yield fine(f"{folder} is writable, {free:.0f} GB free")


@check("memory")
def memory(seen: Seen) -> Iterator[Finding]:
    """Check that there is memory for a copy of the training on every core."""
    free = _free_memory()
    if free is None:
        return
    if free < _LEAST_MEMORY:
        yield attention(f"only {free:.1f} GB of memory are free", "", "Use --jobs 1.")
    else:
        yield fine(f"{free:.1f} GB of memory are free")


@check("pytest plugin")
def plugin(seen: Seen) -> Iterator[Finding]:
    """Check that `pytest --faultlab` works."""
    names = {entry.name for entry in importlib.metadata.entry_points(group="pytest11")}
    if "faultlab" not in names:
        remedy = "Install faultlab with pip, or run `pytest -p faultlab.pytest_plugin --faultlab`."
        yield attention(
            "pytest does not find faultlab's plugin", "the entry point pytest11: faultlab is missing", remedy
        )
    elif os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        remedy = "Run `pytest -p faultlab.pytest_plugin --faultlab`."
        yield attention("pytest does not load plugins automatically", "PYTEST_DISABLE_PLUGIN_AUTOLOAD is set", remedy)
    else:
        yield fine("pytest finds faultlab's plugin")


@check("GPU")
def gpu(seen: Seen) -> Iterator[Finding]:
    """Report the GPUs; campaigns run on the CPU unless a scenario names another accelerator."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    if devices:
        where = f"GPU found: {', '.join(devices)}"
        yield fine(f"{where}; scenarios train on the CPU unless `trainer:` names another accelerator")
    else:
        yield fine("no GPU found; scenarios train on the CPU")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _free_memory() -> float | None:
    """Return the free memory in GB, or None if the system does not report it."""
    found = processes.memory()
    return found["MemAvailable"] / 2**20 if found else None

"""What the warm processes of the tests have imported, and when a copy of one must not use faultlab as it is there."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# Third parties' packages, by the kind of process.
_COMMAND = ("click", "jinja2", "pydantic", "rich.console", "rich.table", "yaml")
IMPORTS = {
    "command": _COMMAND,
    "torch": (*_COMMAND, "torch", "pytorch_lightning", "numpy", "scipy.stats", "sklearn.datasets", "pytest"),
}
# None of them chooses between the packages of Lightning.
_FRAMEWORKS = ("faultlab.frameworks.loops", "faultlab.frameworks.lightning")
_SEAMS = (*_FRAMEWORKS, "faultlab.frameworks.torch")


def import_worker() -> None:
    """Import what trainings need of faultlab; the entry points of others are left to each of them."""
    sys.path.insert(0, str(_ROOT))
    from faultlab.engines import preloaded

    preloaded.import_worker()
    for framework in _FRAMEWORKS:
        importlib.import_module(f"{framework}.framework")
    for package in _SEAMS:
        seams = importlib.import_module(f"{package}.seams")
        for module in pkgutil.iter_modules(seams.__path__, f"{seams.__name__}."):
            importlib.import_module(module.name)
    sys.path.remove(str(_ROOT))


def forget_if_of_no_use(arguments: Sequence[str]) -> None:
    """Leave faultlab to be imported anew by pytest, which rewrites plugins, and where the path finds another one."""
    spec = importlib.machinery.PathFinder.find_spec("faultlab")
    found = spec.origin if spec is not None else None
    another = found is not None and os.path.dirname(os.path.realpath(found)) != str(_ROOT / "faultlab")
    if another or list(arguments[:2]) == ["-m", "pytest"]:
        for module in [name for name in sys.modules if name.partition(".")[0] == "faultlab"]:
            del sys.modules[module]

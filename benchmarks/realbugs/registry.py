"""The detectors: each is one file in detectors/ that registers itself by a decorator."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.realbugs.run import Run

Group = Literal["stock", "faultlab", "public"]
Environment = Literal["own", "peers"]
ALL_FRAMEWORKS = ("torch", "lightning", "transformers")


@dataclass(frozen=True)
class Detector:
    """A way to detect bugs, as a function that trains a `Run` and reports alerts to it.

    ``usage`` is how it is used here, in a sentence. ``package`` is the distribution whose version is printed, and
    ``module`` is imported once, before the processes of runs are forked. A static detector reads the source: one seed
    is enough, and it has neither latency nor a cost. ``most_seeds`` limits the seeds of others that cost too much, and
    a nightly detector runs only if it is named, or with ``--nightly``, on a sample of that many bugs.
    """

    name: str
    group: Group
    usage: str
    watch: Callable[[Run], None]
    frameworks: tuple[str, ...] = ALL_FRAMEWORKS
    environment: Environment = "own"
    package: str = ""
    module: str = ""
    static: bool = False
    before: bool = False
    most_seeds: int = 0
    nightly: int = 0

    def applies(self, framework: str) -> bool:
        return framework in self.frameworks

    def seeds(self, asked: int) -> int:
        """Return with how many seeds it runs if so many are asked for."""
        return min(asked, self.most_seeds or asked)


_REGISTERED: dict[str, Detector] = {}


def detector(
    name: str,
    group: Group,
    usage: str,
    *,
    frameworks: Sequence[str] = ALL_FRAMEWORKS,
    environment: Environment = "own",
    package: str = "",
    module: str = "",
    static: bool = False,
    before: bool = False,
    most_seeds: int = 0,
    nightly: int = 0,
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Register a function as a detector; it imports its package when it is called."""

    def register(watch: Callable[[Run], None]) -> Callable[[Run], None]:
        if name in _REGISTERED:
            raise ValueError(f"duplicate detector {name!r}")
        _REGISTERED[name] = Detector(
            name,
            group,
            usage,
            watch,
            tuple(frameworks),
            environment,
            package,
            module,
            static,
            before,
            1 if static else most_seeds,
            nightly,
        )
        return watch

    return register


@cache
def detectors() -> dict[str, Detector]:
    """Return all detectors by name: stock ones first, then faultlab's, then the public ones."""
    from benchmarks.realbugs import detectors as files

    for info in sorted(pkgutil.iter_modules(files.__path__), key=lambda info: info.name):
        importlib.import_module(f"{files.__name__}.{info.name}")
    order = ("stock", "faultlab", "public")
    return {one.name: one for one in sorted(_REGISTERED.values(), key=lambda one: (order.index(one.group), one.name))}

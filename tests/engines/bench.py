"""A project, and the warm processes of its commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from faultlab.engines import keeping
from faultlab.engines.fork import ForkEngine

MORE = pytest.mark.nightly(
    reason="a keeper of its own, which imports torch; the quick ring has one that serves, refuses and ends"
)
ROOT = Path(__file__).parents[2]

# What a user's module sees when a scenario imports it. Installed packages are imported after it has looked.
MODULE = """
import json, os, resource, sys, random
from pathlib import Path

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

umask = os.umask(0)
os.umask(umask)
seen = {
    "version": 1,
    "pid": os.getpid(),
    "warm": os.getppid(),
    "keeper": parent(os.getppid()),
    "loaded": sorted({"installed", "unruly"} & set(sys.modules)),
    "drawn": random.random(),
    "inherited": {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": umask,
        "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "path": sys.path,
        "leads": [os.getsid(os.getppid()) == os.getppid(), os.getsid(0) == os.getpid()],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": os.environ["OMP_NUM_THREADS"],
        "input": os.readlink("/proc/self/fd/0"),
    },
}
SEEN = Path(__file__).parents[1] / "seen.json"  # outside of the project, where no run keeps what it writes to itself
SEEN.write_text(json.dumps(seen))
IMPORTS

def build():
    SEEN.write_text(json.dumps(seen | {"victim": os.getpid(), "made": os.getppid()}))
    import time
    time.sleep(600)
"""


@dataclass
class Bench:
    """A project, what is installed for it, and the folder in which its keepers listen."""

    project: Path
    packages: Path
    runtime: Path

    def write(self, imports: str = "import installed") -> None:
        (self.project / "own.py").write_text(MODULE.replace("IMPORTS", imports))

    def start(self, *folders: Path) -> dict[str, Any]:
        """What the user's module sees when a command starts up."""
        engine = ForkEngine(1)
        engine.keep_warm()
        path = [str(folder) for folder in folders or (self.project,)]
        try:
            engine.open("own", {"path": path, "build": {"class_path": "own.build"}, "guards": []})
        finally:
            engine.close()
        seen: dict[str, Any] = json.loads((self.project.parent / "seen.json").read_text())
        return seen

    def keepers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "faultlab.engines.keeper" in words and any(word.startswith(str(self.runtime)) for word in words):
                found.append(process)
        return found

    def none_left(self) -> bool:
        return within(10, lambda: not self.keepers() and not list(self.runtime.iterdir()))


def within(seconds: float, true: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def learnt(bench: Bench, before: dict[str, Any]) -> bool:
    """Whether the keeper has left its place to a copy that has imported what the command before it did."""
    return within(60, lambda: [state["pid"] for state in keeping.states()] not in ([], [before["keeper"]]))

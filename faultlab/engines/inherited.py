"""The inherited state of a process that affects how a training runs (Linux).

An older process may replace a new one if both inherited the same state; what can be changed afterwards is passed
to it instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from faultlab.core import version

# They identify the window and line of the shell that the command was typed in. Some package may read any other variable
# on import.
_NOISE = frozenset(
    ("_", "COLUMNS", "FAULTLAB_WARM", "GPG_TTY", "LINES", "OLDPWD", "PWD", "SHLVL", "SSH_CLIENT", "SSH_CONNECTION",
     "SSH_TTY", "STY", "TMUX", "TMUX_PANE", "WINDOWID")
)  # fmt: skip
_STATUS = frozenset(
    ("Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
     "Seccomp", "Cpus_allowed", "Mems_allowed")
)  # fmt: skip
_LIMITS = sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})


def fingerprint() -> str:
    """Return a digest of the state that can't be changed afterwards or that packages read on import.

    It covers the user and their rights, interpreter, faultlab, environment, working folder, hard limits, cores, control
    groups and namespaces.
    """
    status, folder = _status(), os.stat(".")
    parts = {
        "status": {name: value for name, value in status.items() if name in _STATUS},
        "interpreter": [sys.executable, sys.prefix, sys.base_prefix, sys.version],
        "files": [_identity(Path(sys.executable)), _identity(Path(sys.prefix) / "pyvenv.cfg")],
        "faultlab": [version.__version__, version.__file__],
        "environment": {name: value for name, value in os.environ.items() if name not in _NOISE},
        "folder": [os.getcwd(), folder.st_dev, folder.st_ino],
        "limits": [resource.getrlimit(limit)[1] for limit in _LIMITS],
        "priority": [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), _text("/proc/self/oom_score_adj")],
        "groups": _text("/proc/self/cgroup"),
        "spaces": [*_identity(Path("/"))[:2], *sorted(map(os.readlink, Path("/proc/self/ns").iterdir()))],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def handed_over(environment: dict[str, str]) -> dict[str, Any]:
    """Return the state that a process of the same fingerprint needs to be like one that this process would start."""
    return {
        "environment": environment,
        "folder": os.getcwd(),
        "umask": int(_status()["Umask"], 8),
        "limits": [resource.getrlimit(limit) for limit in _LIMITS],
    }


def take_over(handed: dict[str, Any]) -> None:
    """Apply the state from `handed_over` to this process."""
    os.environ.clear()
    os.environ.update(handed["environment"])
    os.chdir(handed["folder"])
    os.umask(handed["umask"])
    for limit, values in zip(_LIMITS, handed["limits"]):
        resource.setrlimit(limit, tuple(values))


def _status() -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())


def _identity(path: Path) -> list[int]:
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size]


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""

"""The origin of a report: the date, the commit of the user's repository, and the source lines that faults act on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faultlab.core import git
from faultlab.errors import UsageError


def now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def commit_of(root: Path) -> dict[str, Any]:
    """Return the commit that is checked out and whether tracked files differ from it; empty outside a repository."""
    with contextlib.suppress(UsageError):  # git is not installed
        found = (git.ask(root, "rev-parse", "--verify", "--quiet", "HEAD") or "").strip()
        if found:
            status = git.ask(root, "status", "--porcelain", "--untracked-files=no")
            return {"id": found, "changed": bool(status)}
    return {}


def code_of(target: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return the first line of each method of the target's class, by the method's name."""
    try:
        lines = (root / target.get("file", "")).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    places = target.get("methods", {}).items()
    return {name: lines[line - 1].strip() for name, line in places if 0 < line <= len(lines)}

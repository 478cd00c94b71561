"""A working folder of its own for each process that runs tests beside others.

What trains writes where it is run: two runs that begin at once choose the same `lightning_logs/version_3`, and one of
them fails at what the other wrote, whatever mutant it has.
"""

from __future__ import annotations

import os
from pathlib import Path

_LEFT_OUT = ("__pycache__", ".git")


def enter(project: Path, folder: Path) -> None:
    """Makes ``folder`` one with the files of the project, as links in folders of its own, and goes there."""
    for where, folders, names in os.walk(project):
        here = folder / os.path.relpath(where, project)
        here.mkdir(parents=True, exist_ok=True)
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        linked = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in (*names, *linked):
            os.symlink(os.path.join(where, name), here / name)
    os.chdir(folder)

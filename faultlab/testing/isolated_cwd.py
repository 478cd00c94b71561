"""A working folder for one copy's tests, where they read the project's files and write their own.

Otherwise copies that run side by side, or one after the other, would load each other's checkpoints.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

_MOST_BYTES = 1 << 20


def enter(folder: Path, projects: Collection[str] | None = None) -> None:
    """Make a new folder the working folder, with links to the folders and large files of the current one, and copies of
    its other files.

    Args:
        folder: The folder, which must not exist yet.
        projects: The names in the current folder that belong to the project; by default all. Other folders, which
            fixtures have written, are copied: through a link, tests would write to them side by side again.
    """
    here = os.getcwd()
    folder.mkdir(parents=True)
    for entry in os.scandir(here):
        if entry.is_file() and entry.stat().st_size < _MOST_BYTES:
            shutil.copy2(entry.path, folder / entry.name)
        elif entry.is_dir() and projects is not None and entry.name not in projects:
            shutil.copytree(entry.path, folder / entry.name, symlinks=True)
        else:
            (folder / entry.name).symlink_to(entry.path)
    os.chdir(folder)

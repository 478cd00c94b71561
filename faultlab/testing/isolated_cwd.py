"""A working folder of a test's own: it reads the project's files, and its new files stay there.

Copies that run tests side by side would otherwise load each other's checkpoints, and later ones what earlier ones left.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

_MOST_BYTES = 1 << 20


def enter(folder: Path, projects: Collection[str] | None = None) -> None:
    """Makes the folder, which must not exist yet, the working one, with what lies in the one so far: links to folders
    and large files, and copies of others.

    ``projects`` are the names that the project has there, all of them if none are given. A folder that a fixture has
    written since is copied: by a link tests would write into it side by side again.
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

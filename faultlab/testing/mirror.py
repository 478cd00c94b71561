"""A working folder of its own for each process that runs tests beside others.

What trains writes where it is run: two runs that begin at once choose the same `lightning_logs/version_3`, and one of
them fails at what the other wrote, whatever mutant it has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path


def enter(project: Path, folder: Path, theirs: Collection[str]) -> None:
    """Makes ``folder``, with a link to each of the project's files and folders, and goes there.

    What is new is written there. What lies within a folder of the project's is not apart: links to every file would
    take longer than many a test. Only ``theirs`` are the project's: what else is in its folder a fixture that tests
    share has written, and a link to that would have them write side by side again.
    """
    folder.mkdir(parents=True)
    for name in os.listdir(project):
        if name in theirs:
            os.symlink(project / name, folder / name)
        elif (project / name).is_dir():
            shutil.copytree(project / name, folder / name, symlinks=True)
        else:
            shutil.copy2(project / name, folder / name)
    os.chdir(folder)

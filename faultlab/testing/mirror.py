"""A working folder of its own for each process that runs tests beside others.

What trains writes where it is run: two runs that begin at once choose the same `lightning_logs/version_3`, and one of
them fails at what the other wrote, whatever mutant it has.
"""

from __future__ import annotations

import os
from pathlib import Path

# Where Lightning writes by default: what a fixture that all tests share has trained leaves it to be shared.
_APART = ("lightning_logs", "checkpoints")


def enter(project: Path, folder: Path) -> None:
    """Makes ``folder``, with a link to each of the files and folders in the project's, and goes there.

    What is new is written there. What lies within a folder of the project's is not apart: links to every file would
    take longer than many a test.
    """
    folder.mkdir(parents=True)
    for name in os.listdir(project):
        if name not in _APART:
            os.symlink(project / name, folder / name)
    os.chdir(folder)

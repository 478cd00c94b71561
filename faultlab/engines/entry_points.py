"""Entry points of installed packages, read once a process.

Lightning asks for them whenever a Trainer is constructed, and reads the metadata of every installed package each time: as
long as several training steps of a small model take.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from typing import Any

_REMEMBERING = "__faultlab_remembering__"


def remember() -> None:
    """Have `importlib.metadata.entry_points` answer from memory as long as ``sys.path`` stays the same.

    Call it before torch and Lightning are imported: they keep the function that they find.
    """
    read = importlib.metadata.entry_points
    if hasattr(read, _REMEMBERING):
        return

    @functools.cache
    def known(path: tuple[str, ...], **asked: Any) -> Any:
        return read(**asked)

    @functools.wraps(read)
    def entry_points(**asked: Any) -> Any:
        try:
            return known(tuple(sys.path), **asked)
        except TypeError:  # what can't be hashed can't be remembered
            return read(**asked)

    setattr(entry_points, _REMEMBERING, True)
    importlib.metadata.entry_points = entry_points

"""The user's own code, defined by the packages and folders that a scenario names."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from faultlab.core import packages

_NOT_USERS = ("torch", *packages.TRAIN, "torchmetrics", "faultlab", "numpy")


@dataclass(frozen=True)
class UserCode:
    """The user's own code: the packages that the scenario names, and files in its folders."""

    packages: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()

    def holds(self, frame: FrameType) -> bool:
        """Return True if the frame runs the user's own code."""
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _NOT_USERS:
            return False
        file = Path(frame.f_code.co_filename)
        installed = {"site-packages", "dist-packages"} & set(file.parts)
        return package in self.packages or (not installed and any(file.is_relative_to(f) for f in self.folders))

    def running(self) -> str:
        """Return the innermost line of the user's code that is running, as ``file:line``; empty if none is."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if self.holds(frame):
                return f"{frame.f_code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

"""The user's own code, defined by the packages and folders that a scenario names."""

from __future__ import annotations

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

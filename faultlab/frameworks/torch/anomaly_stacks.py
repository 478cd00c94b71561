"""The stacks of the forward pass that torch's anomaly mode keeps, formatted only if one is printed.

With ``detect_anomaly`` torch asks `torch.fx.traceback` for a stack at every node of the graph, to print one of them if
a gradient is NaN. Reading the source lines of forty frames for every node makes a small training twice as slow.
"""

from __future__ import annotations

import functools
import linecache
import sys
import traceback
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any


class Stack:
    """A recorded stack, outermost frame first; iterating yields the lines of `traceback.format_stack`."""

    __slots__ = ("_frames",)

    def __init__(self, frame: FrameType | None) -> None:
        self._frames: list[tuple[CodeType, int | None, dict[str, Any]]] = []
        while frame is not None:
            self._frames.append((frame.f_code, frame.f_lineno, frame.f_globals))
            frame = frame.f_back
        self._frames.reverse()

    def __iter__(self) -> Iterator[str]:
        for code, _, names in self._frames:
            linecache.lazycache(code.co_filename, names)
        frames = [
            traceback.FrameSummary(code.co_filename, line, code.co_name, lookup_line=False)
            for code, line, _ in self._frames
        ]
        return iter(traceback.StackSummary.from_list(frames).format())


def format_late() -> None:
    """Give torch stacks that are formatted when they are read; other callers still get a list."""
    from torch.fx import traceback as stacks

    format_stack = stacks.format_stack

    @functools.wraps(format_stack)
    def formatting() -> Any:
        caller = sys._getframe(1)
        # Code that calls the function by its name may do anything with the list; anomaly mode only joins it.
        if stacks.has_preserved_node_meta() or "format_stack" in caller.f_code.co_names:
            return format_stack()
        return Stack(caller)

    stacks.format_stack = formatting

"""Text that a loop prints or writes to a file, line by line."""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches


class Lines:
    """A text stream whose whole lines pass through a function before they are written.

    Args:
        stream: The stream that they are written to.
        mapped: Receives a line without its end and returns the one to write.
    """

    def __init__(self, stream: Any, mapped: Callable[[str], str]) -> None:
        self._stream, self._mapped = stream, mapped
        self._held = ""

    def write(self, text: str) -> int:
        """Write the lines that end in the text."""
        *whole, self._held = (self._held + text).split("\n")
        for line in whole:
            self._stream.write(self._mapped(line) + "\n")
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write a line that has not ended, too."""
        held, self._held = self._held, ""
        if held:
            self._stream.write(self._mapped(held))
        self._stream.flush()

    def close(self) -> None:
        """Write everything and close the stream."""
        if not self._stream.closed:
            self.flush()
        self._stream.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def of_files(patches: Patches, path: str | None, make: Callable[[Any], Lines]) -> None:
    """Replace a file that is opened for writing by what ``make`` returns for it; standard output if it has no path."""
    if path is None:
        for name in ("stdout", "stderr"):
            lines = make(getattr(sys, name))
            patches.set(sys, name, lines)
            patches.on_exit(lines.flush)
        return

    def wrapping(open_: Callable[..., Any]) -> Callable[..., Any]:
        def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            opened = open_(file, mode, *args, **kwargs)
            ours = isinstance(file, (str, os.PathLike)) and os.path.abspath(file) == os.path.abspath(path)
            return make(opened) if ours and set(mode) & set("wax") and "b" not in mode else opened

        return opening

    for owner in (builtins, io):
        patches.wrap(owner, "open", wrapping)

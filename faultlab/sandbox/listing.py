"""`os.scandir` for a folder that a run sees in two layers."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from faultlab.sandbox.overlay import Overlay


class Entry:
    """An entry that `os.scandir` yields, for a folder in two layers."""

    def __init__(self, name: Any, path: Any, overlay: Overlay) -> None:
        self.name = name
        self.path = path
        self._found = overlay.seen(path, follow=False)

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isdir(self._found) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isfile(self._found) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        return os.path.islink(self._found)

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self._found, follow_symlinks=follow_symlinks)

    def inode(self) -> int:
        return os.lstat(self._found).st_ino


class Scan:
    """An iterator over entries that closes like `os.scandir`'s."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())

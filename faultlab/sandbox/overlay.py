"""The user's folders as a run sees them: writes go to the run's own folder and are read back from there.

An overlay file system in Python: ``lower`` folders are the user's and are only read, the ``upper`` folder takes what is
written, and removed files are hidden. Writers that are not Python, and programs that the run starts, are out of reach;
docs/explanation/limits.md lists them.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from faultlab.sandbox.layers import ELSEWHERE, Layers, Path, within
from faultlab.sandbox.writers import keeps_results


class Overlay(Layers):
    """Maps paths to where they are read and written; see `Layers` for the arguments."""

    told: ClassVar[Callable[[str], None] | None] = None
    """Gets every path that is let through, so that it can be removed again."""

    def __init__(self, upper: Callable[[], str], lower: Iterable[str], spared: Iterable[str] = ()) -> None:
        super().__init__(upper, lower, spared)
        self._made: set[str] = set()
        self._preparing = False

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Let new files through: data that is downloaded or computed once exists for the next run too.

        Logs and similar files are not let through.
        """
        before, self._preparing = self._preparing, True
        try:
            yield
        finally:
            self._preparing = before

    def seen(self, path: Path, follow: bool = True) -> Path:
        """Return where the path is read; if it is hidden, a path that does not exist."""
        given, path = path, self._now(path)
        # Runs read all the time, and most write nothing.
        if not self._names(path) or not (self._gone or os.path.lexists(os.path.join(self._upper(), ELSEWHERE))):
            return path
        if (key := self._key(path, follow)) is None:
            return path
        upper = self._above(key)
        if os.path.lexists(upper) or self._hidden(key):
            return upper
        # Through a link or working folder that the run created, the system does not find read-only files.
        return key if self._links or path is not given else path

    def place(self, path: Path, keep: bool = False, follow: bool = True) -> Path:
        """Return where the path is written; with ``keep``, its content is already there."""
        path = self._now(path)
        if (key := self._key(path, follow)) is None or self._lets_through(key):
            return path
        upper = self._above(key)
        if not os.path.lexists(upper):
            if os.path.isdir(self.seen(os.path.dirname(key))):
                os.makedirs(os.path.dirname(upper), exist_ok=True)
            if self._below(key) and (keep or os.path.isdir(key)):
                self._copy(key, upper, follow)
        return upper

    def entered(self, folder: Path) -> Path:
        """Return the folder to enter when the run changes its working folder: the user's own if it exists.

        Relative paths go through the overlay either way.
        """
        key = self._key(self._now(folder), follow=True)
        return key if key is not None and self._below(key) and os.path.isdir(key) else self.seen(folder)

    def remove(self, path: Path, remove: Callable[[Path], None]) -> None:
        """Remove a file or an empty folder from the run's view, with ``remove``."""
        path = self._now(path)
        key = self._key(path, follow=False)
        if key is None or self._owns(key):
            remove(path)
            return
        upper, below = self._above(key), self._below(key)
        if below and os.path.isdir(key) and not os.path.islink(key) and self.names(key):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        if os.path.lexists(upper) or not below:
            remove(upper)
        if below:
            self._gone.add(key)

    def move(self, source: Path, target: Path, move: Callable[[Path, Path], None]) -> None:
        """Rename with ``move``; read-only files are copied."""
        source = self._now(source)
        key = self._key(source, follow=False)
        placed = self.place(target, follow=False)
        end = self._key(self._now(target), follow=False)
        if end is not None and end != key and (why := self._in_the_way(self.seen(source, follow=False), end)):
            raise OSError(why, os.strerror(why), source, None, target)
        if key is None or self._owns(key):
            move(source, placed)
        else:
            below = self._below(key)
            if below:
                self._lift(key)
            move(self._above(key), placed)
            if below:
                self._gone.add(key)
        if end is not None and placed == self._above(end) and self._below(end):
            # Nothing of a folder that was there before shows through.
            self._gone.add(end)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, as the run sees it."""
        key = self._key(folder := self._now(folder), follow=True)
        if key is None:
            return os.listdir(folder)
        upper = self._above(key)
        above = os.listdir(upper) if os.path.isdir(upper) else []
        below = os.listdir(key) if os.path.isdir(key) and self._below(key) else []
        return [*above, *(name for name in below if name not in above and os.path.join(key, name) not in self._gone)]

    def differs(self, folder: Path) -> bool:
        """Return whether the run sees the folder differently than it is."""
        if not self._names(folder := self._now(folder)) or (key := self._key(folder, follow=True)) is None:
            return False
        if not os.path.isdir(self.seen(folder)):
            return False
        return os.path.isdir(self._above(key)) or any(os.path.dirname(gone) == key for gone in self._gone)

    def there(self, path: Path) -> bool:
        """Return whether the run sees anything at the path."""
        return os.path.lexists(self.seen(path, follow=False))

    def _owns(self, key: str) -> bool:
        """Return whether this was created while data is prepared, so that it may be renamed and removed then."""
        mine = self._preparing and any(within(key, made) for made in self._made)
        return mine and not os.path.lexists(self._above(key))

    def _lets_through(self, key: str) -> bool:
        if not self._preparing or self._hidden(key) or os.path.lexists(self._above(key)):
            return False
        if os.path.lexists(key):
            return self._owns(key)
        if os.path.isdir(os.path.dirname(key)) and not keeps_results():
            self._made.add(key)
            if Overlay.told is not None:
                Overlay.told(key)
            return True
        return False

    def _in_the_way(self, source: Path, key: str) -> int:
        """Return the error that prevents a rename onto this path as the run sees it; 0 if there is none."""
        target = self.seen(key, follow=False)
        folder = os.path.isdir(target) and not os.path.islink(target)
        if not os.path.lexists(target) or not os.path.lexists(source):
            return 0
        if folder != (os.path.isdir(source) and not os.path.islink(source)):
            return errno.EISDIR if folder else errno.ENOTDIR
        return errno.ENOTEMPTY if folder and self.names(key) else 0

    def _lift(self, key: str) -> None:
        """Copy what the run sees here and below to where it can be moved from."""
        upper = self._above(key)
        if os.path.isdir(key) and not os.path.islink(key):
            for name in os.listdir(key):
                if self._below(os.path.join(key, name)):
                    self._lift(os.path.join(key, name))
        if not os.path.lexists(upper):
            os.makedirs(os.path.dirname(upper), exist_ok=True)
            self._copy(key, upper, follow=False)

    def _copy(self, source: str, target: str, follow: bool) -> None:
        """Copy a file, or a folder without its content; with ``follow``, the target of a link."""
        if os.path.isdir(source) and (follow or not os.path.islink(source)):
            os.mkdir(target)
            shutil.copystat(source, target)
        else:
            self._links = self._links or os.path.islink(source)
            shutil.copy2(source, target, follow_symlinks=follow)

"""The user's folders as a run sees them: what it writes goes to a folder of its own, and is read back from there.

An overlay file system in Python: ``lower`` folders are the user's and are only read, the ``upper`` folder takes what is
written, and what is removed is hidden. Writers that are not Python are out of reach, and so are programs that the run
starts; docs/explanation/limits.md says which.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.worker.writers import keeps_results

Path = Any
"""A path as Python's functions take one: text, bytes or an object with ``__fspath__``."""

_ELSEWHERE = "elsewhere"
# As many as Linux follows.
_LINKS = 40


def confined(path: Path, root: str) -> str:
    """Where a run below ``root`` writes what was meant for ``path``, which may be an address of remote storage."""
    protocol, remote, rest = str(path).partition("://")
    if remote:
        return os.path.join(root, _ELSEWHERE, protocol, rest.lstrip("/"))
    whole = os.path.realpath(os.path.expanduser(path))
    return str(path) if _within(whole, os.path.realpath(root)) else _shadow(whole, root)


class Overlay:
    """Maps paths to where they are read and written.

    Args:
        upper: gives the folder that the run may write under, as it is now.
        lower: the folders that are only read.
        spared: folders within ``lower`` that are written to as if there were no overlay.
    """

    def __init__(self, upper: Callable[[], str], lower: Iterable[str], spared: Iterable[str] = ()) -> None:
        self._upper = upper
        self._lower: list[str] = []
        # As they were named, by a link perhaps.
        self._named: list[str] = []
        self._root = ("", "")
        self._gone: set[str] = set()
        self._made: set[str] = set()
        self._preparing = False
        self._former: list[str] = []
        self._links = False
        temporary = os.path.realpath(tempfile.gettempdir())
        # Caches are kept by code that is no Python too, which would not find what went elsewhere.
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._spared = [os.path.realpath(folder) for folder in (*spared, caches)]
        for folder in lower:
            self.cover(folder)
        if not any(_within(folder, temporary) for folder in self._lower):
            self._spared.append(temporary)

    def cover(self, folder: Path) -> None:
        """Has a folder, or one file, only read from now on; one that holds the run's own folder is left out."""
        named = os.path.abspath(os.path.expanduser(os.fsdecode(folder)))
        whole = os.path.realpath(named)
        upper = os.path.realpath(self._upper())
        # Sockets and shared memory lie in the temporary folder itself, and are made by code that is no Python.
        unfit = whole in (os.sep, os.path.realpath(tempfile.gettempdir())) or _within(upper, whole)
        if not unfit and whole not in self._lower:
            self._lower.append(whole)
            self._named += dict.fromkeys((whole, named))

    def succeed(self, folder: str) -> None:
        """Have what names a folder mean the run's own from now on: that of the run that this one is a copy of.

        The user's objects may have kept its name.
        """
        self._former.append(os.path.abspath(folder))

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Lets files through that are new: data that is fetched or worked out once is there for the next run too.

        Logs and the like are not.
        """
        before, self._preparing = self._preparing, True
        try:
            yield
        finally:
            self._preparing = before

    def seen(self, path: Path, follow: bool = True) -> Path:
        """Where the path is read; a file that is not there where it is hidden."""
        given, path = path, self._now(path)
        # Reading is what runs do all the time, and most write nothing.
        if not self._names(path) or not (self._gone or os.path.lexists(os.path.join(self._upper(), _ELSEWHERE))):
            return path
        if (key := self._key(path, follow)) is None:
            return path
        upper = self._above(key)
        if os.path.lexists(upper) or self._hidden(key):
            return upper
        # By a link or a working folder that the run has made the system does not find what is only read.
        return key if self._links or path is not given else path

    def place(self, path: Path, keep: bool = False, follow: bool = True) -> Path:
        """Where the path is written; with ``keep`` its content is there already."""
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
        """Where the run goes that makes a folder its working folder: the user's own, wherever that is there.

        Paths that are relative to it are the overlay's either way.
        """
        key = self._key(self._now(folder), follow=True)
        return key if key is not None and self._below(key) and os.path.isdir(key) else self.seen(folder)

    def shown(self, folder: str) -> str:
        """A folder's name as it is without the overlay."""
        root = os.path.join(os.path.realpath(self._upper()), _ELSEWHERE)
        return os.sep + folder[len(root) :].lstrip(os.sep) if _within(folder, root) else folder

    def linked(self) -> None:
        """The run has made a symbolic link."""
        self._links = True

    def remove(self, path: Path, remove: Callable[[Path], None]) -> None:
        """Removes a file or an empty folder from what the run sees, by ``remove``."""
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
        """Renames by ``move``; what is only read is copied."""
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
            # Of a folder that was there nothing shines through.
            self._gone.add(end)

    def names(self, folder: Path) -> list[str]:
        """What the folder holds for the run."""
        key = self._key(folder := self._now(folder), follow=True)
        if key is None:
            return os.listdir(folder)
        upper = self._above(key)
        above = os.listdir(upper) if os.path.isdir(upper) else []
        below = os.listdir(key) if os.path.isdir(key) and self._below(key) else []
        return [*above, *(name for name in below if name not in above and os.path.join(key, name) not in self._gone)]

    def differs(self, folder: Path) -> bool:
        """Whether the run sees something else in the folder than there is."""
        if not self._names(folder := self._now(folder)) or (key := self._key(folder, follow=True)) is None:
            return False
        if not os.path.isdir(self.seen(folder)):
            return False
        return os.path.isdir(self._above(key)) or any(os.path.dirname(gone) == key for gone in self._gone)

    def there(self, path: Path) -> bool:
        """Whether the run sees anything at the path."""
        return os.path.lexists(self.seen(path, follow=False))

    def _now(self, path: Path) -> Path:
        """The path as it is since the run became one of its own, and wherever it has gone."""
        if not os.path.isabs(path) and (folder := os.getcwd()) != (shown := self.shown(folder)):
            path = os.path.join(shown, os.fsdecode(path))
        if not self._former:
            return path
        whole = os.path.abspath(os.fsdecode(path))
        former = next((folder for folder in self._former if _within(whole, folder)), None)
        return path if former is None else self._upper() + whole[len(former) :]

    def _key(self, path: Path, follow: bool) -> str | None:
        """The path as the user's own, past every link that the run sees; None for one that is none of the overlay's."""
        rest = os.path.join(os.getcwd(), os.fsdecode(path)).split(os.sep)[::-1]
        reached, links = os.sep, 0
        while rest:
            name = rest.pop()
            if name in ("", os.curdir):
                continue
            if name == os.pardir:
                reached = os.path.dirname(reached)
                continue
            here = os.path.join(reached, name)
            if (rest or follow) and (target := self._target(here)) is not None and (links := links + 1) <= _LINKS:
                reached = os.sep if os.path.isabs(target) else reached
                rest += target.split(os.sep)[::-1]
            else:
                reached = here
        return reached if self._covers(reached) else None

    def _target(self, here: str) -> str | None:
        """What the link names that the run sees here, if there is one."""
        covered = self._covers(here)
        found = self._above(here) if covered and not self._below(here, hides=True) else here
        if not os.path.islink(found):
            return None
        target = os.readlink(found)
        # By a link within them other folders are reached, which are the user's as well.
        if covered and not self._covers(os.path.realpath(os.path.join(os.path.dirname(here), target))):
            return None
        return target

    def _names(self, path: Path) -> bool:
        """Whether the path, as it is written, is within what is only read."""
        whole = os.path.abspath(os.fsdecode(path))
        return any(_within(whole, folder) for folder in self._named)

    def _covers(self, whole: str) -> bool:
        if not any(_within(whole, folder) for folder in self._lower):
            return False
        upper = self._upper()
        if self._root[0] != upper:
            self._root = (upper, os.path.realpath(upper))
        return not any(_within(whole, one) for one in (*self._spared, self._root[1]))

    def _above(self, key: str) -> str:
        return _shadow(key, self._upper())

    def _below(self, key: str, hides: bool = False) -> bool:
        """Whether the run sees what is only read here; with ``hides`` nothing may have been written over it."""
        if hides and os.path.lexists(self._above(key)):
            return False
        return os.path.lexists(key) and not self._hidden(key)

    def _hidden(self, key: str) -> bool:
        while self._gone and key not in self._gone:
            key, before = os.path.dirname(key), key
            if key == before:
                return False
        return bool(self._gone)

    def _owns(self, key: str) -> bool:
        """Whether this was made while data is prepared, and may be renamed and removed then."""
        mine = self._preparing and any(_within(key, made) for made in self._made)
        return mine and not os.path.lexists(self._above(key))

    def _lets_through(self, key: str) -> bool:
        if not self._preparing or self._hidden(key) or os.path.lexists(self._above(key)):
            return False
        if os.path.lexists(key):
            return self._owns(key)
        if os.path.isdir(os.path.dirname(key)) and not keeps_results():
            self._made.add(key)
            return True
        return False

    def _in_the_way(self, source: Path, key: str) -> int:
        """The error with which nothing can be renamed to what the run sees here; 0 where it can."""
        target = self.seen(key, follow=False)
        folder = os.path.isdir(target) and not os.path.islink(target)
        if not os.path.lexists(target) or not os.path.lexists(source):
            return 0
        if folder != (os.path.isdir(source) and not os.path.islink(source)):
            return errno.EISDIR if folder else errno.ENOTDIR
        return errno.ENOTEMPTY if folder and self.names(key) else 0

    def _lift(self, key: str) -> None:
        """Copies what the run sees here and below to where it can be moved from."""
        upper = self._above(key)
        if os.path.isdir(key) and not os.path.islink(key):
            for name in os.listdir(key):
                if self._below(os.path.join(key, name)):
                    self._lift(os.path.join(key, name))
        if not os.path.lexists(upper):
            os.makedirs(os.path.dirname(upper), exist_ok=True)
            self._copy(key, upper, follow=False)

    def _copy(self, source: str, target: str, follow: bool) -> None:
        """Copies a file, or a folder without what is in it; by ``follow`` what a link leads to."""
        if os.path.isdir(source) and (follow or not os.path.islink(source)):
            os.mkdir(target)
            shutil.copystat(source, target)
        else:
            self._links = self._links or os.path.islink(source)
            shutil.copy2(source, target, follow_symlinks=follow)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _shadow(whole: str, root: str) -> str:
    return os.path.join(root, _ELSEWHERE, os.path.splitdrive(whole)[1].lstrip(os.sep))

"""The layer of an overlay that a path is in: the user's folders, the run's own, or neither."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

Path = Any
"""A path in any form that Python's functions take: text, bytes or an object with ``__fspath__``."""

ELSEWHERE = "elsewhere"
# As many as Linux follows.
_LINKS = 40


def confined(path: Path, root: str) -> str:
    """Return where a run below ``root`` writes a file meant for ``path``, which may be an address of remote storage."""
    protocol, remote, rest = str(path).partition("://")
    if remote:
        return os.path.join(root, ELSEWHERE, protocol, rest.lstrip("/"))
    whole = os.path.realpath(os.path.expanduser(path))
    return str(path) if within(whole, os.path.realpath(root)) else _shadow(whole, root)


class Layers:
    """The folders of an overlay, and the paths in them as a run sees them.

    Args:
        upper: Returns the folder that the run may write to, at any time.
        lower: The folders that are only read.
        spared: Folders within ``lower`` that are written to as if there were no overlay.
    """

    def __init__(self, upper: Callable[[], str], lower: Iterable[str], spared: Iterable[str] = ()) -> None:
        self._upper = upper
        self._lower: list[str] = []
        # The folders by the names that were given, possibly links.
        self._named: list[str] = []
        self._root = ("", "")
        self._gone: set[str] = set()
        self._former: list[str] = []
        self._links = False
        temporary = os.path.realpath(tempfile.gettempdir())
        # Code that is not Python also uses caches, and would not find redirected files.
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._spared = [os.path.realpath(folder) for folder in (*spared, caches)]
        for folder in lower:
            self.cover(folder)
        if not any(within(folder, temporary) for folder in self._lower):
            self._spared.append(temporary)

    def cover(self, folder: Path) -> None:
        """Make a folder, or one file, read-only from now on; skip one that contains the run's own folder."""
        named = os.path.abspath(os.path.expanduser(os.fsdecode(folder)))
        whole = os.path.realpath(named)
        upper = os.path.realpath(self._upper())
        # Sockets and shared memory are in the temporary folder itself, and are created by code that is not Python.
        unfit = whole in (os.sep, os.path.realpath(tempfile.gettempdir())) or within(upper, whole)
        if not unfit and whole not in self._lower:
            self._lower.append(whole)
            self._named += dict.fromkeys((whole, named))

    def succeed(self, folder: str) -> None:
        """Let names of a folder mean the run's own folder from now on: the folder of the run that this one is a copy
        of.

        The user's objects may have kept its name.
        """
        self._former.append(os.path.abspath(folder))

    def shown(self, folder: str) -> str:
        """Return a folder's name as it is without the overlay."""
        root = os.path.join(os.path.realpath(self._upper()), ELSEWHERE)
        return os.sep + folder[len(root) :].lstrip(os.sep) if within(folder, root) else folder

    def linked(self) -> None:
        """Note that the run has created a symbolic link."""
        self._links = True

    def _now(self, path: Path) -> Path:
        """Return a path in the run's own working folder, with a former run's folder replaced by this run's."""
        if not os.path.isabs(path) and (folder := os.getcwd()) != (shown := self.shown(folder)):
            path = os.path.join(shown, os.fsdecode(path))
        if not self._former:
            return path
        whole = os.path.abspath(os.fsdecode(path))
        former = next((folder for folder in self._former if within(whole, folder)), None)
        return path if former is None else self._upper() + whole[len(former) :]

    def _key(self, path: Path, follow: bool) -> str | None:
        """Return the user's own path, past every link that the run sees; None if it is not the overlay's."""
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
        """Return the target of the link that the run sees here, if there is one."""
        covered = self._covers(here)
        found = self._above(here) if covered and not self._below(here, hides=True) else here
        if not os.path.islink(found):
            return None
        target = os.readlink(found)
        # Links within them can lead to other folders, which are the user's too.
        if covered and not self._covers(os.path.realpath(os.path.join(os.path.dirname(here), target))):
            return None
        return target

    def _names(self, path: Path) -> bool:
        """Return whether the path, as written, is within the read-only folders."""
        whole = os.path.abspath(os.fsdecode(path))
        return any(within(whole, folder) for folder in self._named)

    def _covers(self, whole: str) -> bool:
        if not any(within(whole, folder) for folder in self._lower):
            return False
        upper = self._upper()
        if self._root[0] != upper:
            self._root = (upper, os.path.realpath(upper))
        return not any(within(whole, one) for one in (*self._spared, self._root[1]))

    def _above(self, key: str) -> str:
        return _shadow(key, self._upper())

    def _below(self, key: str, hides: bool = False) -> bool:
        """Return whether the run sees a read-only file here; with ``hides``, nothing may have been written over it."""
        if hides and os.path.lexists(self._above(key)):
            return False
        return os.path.lexists(key) and not self._hidden(key)

    def _hidden(self, key: str) -> bool:
        while self._gone and key not in self._gone:
            key, before = os.path.dirname(key), key
            if key == before:
                return False
        return bool(self._gone)


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _shadow(whole: str, root: str) -> str:
    return os.path.join(root, ELSEWHERE, os.path.splitdrive(whole)[1].lstrip(os.sep))

"""Python's own calls that read, write and remove files, redirected through an overlay during a run."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import builtins
import functools
import importlib
import io
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.references import references
from faultlab.sandbox.listing import Entry, Scan
from faultlab.sandbox.overlay import Overlay

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READERS = ("stat", "access", "statvfs", "getxattr", "listxattr")
_OWN_READERS = ("lstat", "readlink")
_CHANGERS = ("truncate", "chmod", "chown", "utime", "setxattr", "removexattr")
_LARGEST_DATABASE = 64 << 20
_SAFE_WRITER = "serialize_file"
_MAKERS = ("mkfifo", "mknod")
# Python's own modules look up in these sets what a function supports before they call it.
_ABILITIES = ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks")
Call = Callable[..., Any]


@contextmanager
def redirected(root: str, folders: Iterable[str]) -> Iterator[Overlay]:
    """Make the process write to ``root`` instead of below the folders.

    Files beside ``root`` belong to faultlab, and are written normally.
    """
    overlay = Overlay(lambda: root, folders, [os.path.dirname(root)])
    with Patches() as patches:
        take_over(patches, overlay)
        yield overlay


def take_over(patches: Patches, overlay: Overlay) -> None:
    """Redirect this process's file calls through the overlay until the patches are closed.

    A name that a module imported from `os` before keeps its meaning; a name imported during an overlay always uses the
    current one.
    """
    taken = _Taken(overlay)
    patches.on_exit(taken.end)

    def wrap(owner: Any, name: str, act: Callable[..., Any]) -> None:
        if hasattr(owner, name):
            original = getattr(owner, name)
            patches.wrap(owner, name, functools.partial(taken.wrapping, act, owner, name))
            for ability in _ABILITIES:
                if original in (able := getattr(os, ability)):
                    patches.set(os, ability, {*able, getattr(owner, name)})

    for owner in (builtins, io):
        wrap(owner, "open", taken.opened)
    wrap(os, "open", taken.opened_low)
    for name in _READERS:
        wrap(os, name, taken.read)
    wrap(os, "chdir", taken.entered)
    for name in ("getcwd", "getcwdb"):
        wrap(os, name, taken.told)
    for name in _OWN_READERS:
        wrap(os, name, taken.read_itself)
    for name in _CHANGERS:
        wrap(os, name, taken.changed)
    for name in _MAKERS:
        wrap(os, name, taken.made)
    wrap(os, "listdir", taken.listed)
    wrap(os, "scandir", taken.scanned)
    wrap(os, "mkdir", taken.made_folder)
    for name in ("remove", "unlink", "rmdir"):
        wrap(os, name, taken.removed)
    for name in ("rename", "replace"):
        wrap(os, name, taken.moved)
    wrap(os, "link", taken.linked)
    wrap(os, "symlink", taken.symlinked)
    for owner in (sqlite3, sqlite3.dbapi2):
        wrap(owner, "connect", taken.connected)
    # With folder descriptors, a tree is removed without any path.
    if hasattr(shutil, "_use_fd_functions"):
        patches.set(shutil, "_use_fd_functions", False)
    if (torch := sys.modules.get("torch")) is not None:
        # It opens the file itself, in C++.
        wrap(torch._C, "PyTorchFileWriter", taken.written_by_torch)
    for module, name in list(_of_safetensors()):
        # It opens files itself, in Rust.
        wrap(module, name, taken.written_by_safetensors if name == _SAFE_WRITER else taken.read_by_library)
    if (tokenizer := getattr(_installed("tokenizers"), "Tokenizer", None)) is not None:
        wrap(tokenizer, "save", taken.written_by_tokenizers)
        wrap(tokenizer, "from_file", taken.read_by_library)
    _lend_to_numpy(patches)


def look_ahead() -> None:
    """Find what `take_over` replaces, so that copies of this process need not search all modules for it."""
    list(_of_safetensors())


def _lend_to_numpy(patches: Patches) -> None:
    """Have NumPy's functions for text open files as everything else does: they keep the `open` of their import."""
    kept = getattr(sys.modules.get("numpy.lib._datasource"), "_file_openers", None)
    openers = getattr(kept, "_file_openers", {})
    if None in openers:
        before, openers[None] = openers[None], builtins.open
        patches.on_exit(lambda: openers.__setitem__(None, before))


def _installed(package: str) -> Any:
    """Import a package, so that whatever imports it later finds its functions replaced; return None without it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def _of_safetensors() -> Iterator[tuple[Any, str]]:
    """Yield each module that has one of the functions of safetensors for files, with the function's name."""
    safetensors = _installed("safetensors")
    functions = [function for name in (_SAFE_WRITER, "safe_open") if (function := getattr(safetensors, name, None))]
    for module, name, function in references(functions):
        if function is getattr(safetensors, name, None):
            yield module, name


def _may_be_copied(database: str) -> bool:
    """Return whether a database is a file, and small enough for every run to have its own copy."""
    if database in ("", ":memory:") or database.startswith("file:"):
        return False
    return not os.path.isfile(database) or os.path.getsize(database) <= _LARGEST_DATABASE


class _Taken:
    """One method per kind of call: each gets the original call and its arguments."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._within = threading.local()
        self._on = True

    def end(self) -> None:
        """Make calls use the then current functions, including calls by names that modules imported meanwhile."""
        self._on = False

    def wrapping(self, act: Callable[..., Any], owner: Any, name: str, original: Call) -> Call:
        def called(*args: Any, **kwargs: Any) -> Any:
            # Calls by the overlay itself, or within a redirected call, go through unchanged.
            if getattr(self._within, "it", False):
                return original(*args, **kwargs)
            latest = getattr(owner, name)
            if not self._on and latest is original:
                return original(*args, **kwargs)
            self._within.it = True
            try:
                # With nested or successive overlays, the latest acts.
                return act(original, *args, **kwargs) if latest is called else latest(*args, **kwargs)
            finally:
                self._within.it = False

        return called

    def opened(self, original: Call, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, int) or not isinstance(mode, str):
            return original(file, mode, *args, **kwargs)
        if kwargs.get("opener") is not None:
            # An opener can open any file, as that of temporary files does.
            return original(file, mode, *args, **{**kwargs, "opener": self._outside(kwargs["opener"])})
        if "x" in mode and self._overlay.there(file):
            found = self._overlay.seen(file)
        elif set(mode) & set("wax+"):
            found = self._overlay.place(file, keep="w" not in mode)
        else:
            found = self._overlay.seen(file)
        return _named(file, found, lambda: original(found, mode, *args, **kwargs))

    def connected(self, original: Call, database: Any, *args: Any, **kwargs: Any) -> Any:
        """Place a database, whose library also writes beside the file, entirely where its file is."""
        if isinstance(database, (str, os.PathLike)) and _may_be_copied(str(os.fspath(database))):
            # The latest writes may not be in the file itself yet.
            for beside in ("-wal", "-journal"):
                if self._overlay.there(log := f"{os.fspath(database)}{beside}"):
                    self._overlay.place(log, keep=True)
            database = self._overlay.place(database, keep=True)
        return original(database, *args, **kwargs)

    def _outside(self, opener: Call) -> Call:
        def opening(*args: Any) -> Any:
            self._within.it = False
            try:
                return opener(*args)
            finally:
                self._within.it = True

        return opening

    def opened_low(self, original: Call, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> Any:
        path, dir_fd = _whole(path, dir_fd)
        if isinstance(path, int) or dir_fd is not None:
            return original(path, flags, mode, dir_fd=dir_fd)
        if not flags & _WRITES or (flags & os.O_EXCL and self._overlay.there(path)):
            found = self._overlay.seen(path)
        else:
            found = self._overlay.place(path, keep=not flags & os.O_TRUNC)
        return _named(path, found, lambda: original(found, flags, mode))

    def read(self, original: Call, path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        return self._reading(original, path, args, kwargs, bool(kwargs.get("follow_symlinks", True)))

    def read_itself(self, original: Call, path: Any, *args: Any, **kwargs: Any) -> Any:
        return self._reading(original, path, args, kwargs, follow=False)

    def _reading(self, original: Call, path: Any, args: Any, kwargs: dict[str, Any], follow: bool) -> Any:
        path, kwargs["dir_fd"] = _whole(path, kwargs.get("dir_fd"))
        if kwargs["dir_fd"] is None:
            del kwargs["dir_fd"]
        if path is None or isinstance(path, int) or "dir_fd" in kwargs:
            return original(path, *args, **kwargs)
        found = self._overlay.seen(path, follow)
        return _named(path, found, lambda: original(found, *args, **kwargs))

    def entered(self, original: Call, path: Any) -> None:
        found = path if isinstance(path, int) else self._overlay.entered(path)
        _named(path, found, lambda: original(found))

    def told(self, original: Call) -> Any:
        folder = original()
        shown = self._overlay.shown(os.fsdecode(folder))
        return os.fsencode(shown) if isinstance(folder, bytes) else shown

    def changed(self, original: Call, path: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(path, int) or kwargs.get("dir_fd") is not None:
            return original(path, *args, **kwargs)
        follow = bool(kwargs.get("follow_symlinks", True))
        there = os.path.lexists(self._overlay.seen(path, follow))
        # A file that the run has removed still exists for the system.
        found = self._overlay.place(path, keep=True, follow=follow) if there else self._overlay.seen(path, follow)
        return _named(path, found, lambda: original(found, *args, **kwargs))

    def made(self, original: Call, path: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self._new(path), *args, **kwargs)

    def made_folder(self, original: Call, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        path, dir_fd = _whole(path, dir_fd)
        if dir_fd is not None:
            original(path, mode, dir_fd=dir_fd)
            return
        found = self._new(path)
        _named(path, found, lambda: original(found, mode))

    def _new(self, path: Any) -> Any:
        """Return where something new is created, or what is in its way."""
        return (self._overlay.seen if self._overlay.there(path) else self._overlay.place)(path, follow=False)

    def listed(self, original: Call, path: Any = ".") -> Any:
        if path is None or isinstance(path, int) or not self._overlay.differs(path):
            return self.read(original, "." if path is None else path)
        names = self._overlay.names(path)
        return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

    def scanned(self, original: Call, path: Any = ".") -> Any:
        if path is None or isinstance(path, int) or not self._overlay.differs(path):
            return self.read(original, "." if path is None else path)
        shown = os.fspath(path)
        names = [os.fsencode(name) if isinstance(shown, bytes) else name for name in self._overlay.names(path)]
        return Scan([Entry(name, os.path.join(shown, name), self._overlay) for name in names])

    def removed(self, original: Call, path: Any, *, dir_fd: int | None = None) -> None:
        path, dir_fd = _whole(path, dir_fd)
        if dir_fd is not None:
            original(path, dir_fd=dir_fd)
            return
        found = self._overlay.seen(path, follow=False)
        folder = os.path.isdir(found) and not os.path.islink(found)
        if folder != (original.__name__ == "rmdir"):
            _named(path, found, lambda: original(found))  # raises, because it is the wrong kind
        else:
            _named(path, None, lambda: self._overlay.remove(path, original))

    def moved(self, original: Call, src: Any, dst: Any, **kwargs: Any) -> None:
        if any(kwargs.get(name) is not None for name in ("src_dir_fd", "dst_dir_fd")):
            original(src, dst, **kwargs)
        else:
            _named(src, None, lambda: self._overlay.move(src, dst, original), dst)

    def linked(self, original: Call, src: Any, dst: Any, **kwargs: Any) -> None:
        found, placed = self._overlay.seen(src, follow=False), self._new(dst)
        if placed == dst or found != src:
            _named(src, None, lambda: original(found, placed, **kwargs), dst)
        else:
            # Writing to the new name would change the user's file.
            _named(src, None, lambda: shutil.copy2(found, placed, follow_symlinks=False), dst)

    def symlinked(self, original: Call, src: Any, dst: Any, *args: Any, **kwargs: Any) -> None:
        placed = self._new(dst)
        _named(src, None, lambda: original(src, placed, *args, **kwargs), dst)
        self._overlay.linked()

    def written_by_torch(self, original: Call, file: Any, *args: Any, **kwargs: Any) -> Any:
        named = isinstance(file, (str, bytes, os.PathLike))
        return original(self._overlay.place(file) if named else file, *args, **kwargs)

    def written_by_safetensors(self, original: Call, tensors: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
        return original(tensors, self._overlay.place(filename), *args, **kwargs)

    def written_by_tokenizers(self, original: Call, tokenizer: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        return original(tokenizer, self._overlay.place(path), *args, **kwargs)

    def read_by_library(self, original: Call, filename: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self._overlay.seen(filename), *args, **kwargs)


def _whole(path: Any, dir_fd: int | None) -> tuple[Any, int | None]:
    """Return an absolute path for one relative to an open folder, if the system reveals that folder's name."""
    if dir_fd is None or isinstance(path, int) or os.path.isabs(path):
        return path, None
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), os.fsdecode(path)), None
    except OSError:
        return path, dir_fd


def _named(path: Any, found: Any, call: Callable[[], Any], other: Any = None) -> Any:
    """Call; an error names the caller's paths: always if ``found`` is None, otherwise in place of ``found``."""
    try:
        return call()
    except OSError as error:
        if error.filename is not None and (found is None or error.filename == found):
            error.filename = path
            if other is not None:
                error.filename2 = other
        raise

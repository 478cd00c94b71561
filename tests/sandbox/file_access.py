"""Ways to read and write files, for the tests of the overlay."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import pathlib
import sqlite3
from collections.abc import Iterator

from faultlab.core.patching import Patches

Home = pathlib.Path
CALLS = ["open", "stat", "lstat", "readlink", "mkdir", "symlink", "remove", "listdir"]
CONNECT = sqlite3.connect
ORIGINALS = {
    (owner.__name__, name): getattr(owner, name)
    for owner in (os, io, builtins)
    for name in CALLS
    if hasattr(owner, name)
}


@contextlib.contextmanager
def overlay_off() -> Iterator[None]:
    """As the system sees it."""
    with Patches() as patches:
        for owner, names in ((os, CALLS), (builtins, ["open"]), (io, ["open"])):
            for name in names:
                patches.set(owner, name, ORIGINALS[owner.__name__, name])
        yield


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("broken")


def append(path: str) -> None:
    with open(path, "a") as file:
        file.write("more")


def real_text(file: pathlib.Path) -> str:
    return os.popen(f"cat {file}").read()

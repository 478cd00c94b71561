"""The formats of a report: faultlab's own, each declared by one file, and those that installed packages add.

A file of `faultlab.report.formats` registers itself by a constant ``FORMAT``::

    FORMAT = Format("junit.xml", render)

A package adds one by an entry point of the group ``faultlab.reporters``, which is named after the written file and
refers to the same declaration. The names are known without importing other packages.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from faultlab.core import run_folder
from faultlab.core.alert import safe_text
from faultlab.core.report import Report
from faultlab.report import formats

ENTRY_POINT_GROUP = "faultlab.reporters"
_PREFIX = f"{formats.__name__}."
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Format:
    """A file beside report.json that is rendered from the report alone.

    Args:
        file: The name of the file.
        render: A function that returns the file's text.
    """

    file: str
    render: Callable[[Report], str]

    def text(self, report: Report, folder: Path) -> str | None:
        """Return the text of the file, or None if this report has no such file."""
        return self.render(report)


@dataclass(frozen=True)
class FolderFormat:
    """A file beside report.json that is rendered from the report and its run folder.

    Args:
        file: The name of the file.
        render: A function of the report and the folder that returns the file's text, or None for no file.
    """

    file: str
    render: Callable[[Report, Path], str | None]

    def text(self, report: Report, folder: Path) -> str | None:
        """Return the text of the file, or None if this report has no such file."""
        return self.render(report, folder)


@cache
def built_in() -> tuple[Format | FolderFormat, ...]:
    """Return faultlab's own formats in the order of their modules."""
    modules = (importlib.import_module(info.name) for info in pkgutil.iter_modules(formats.__path__, _PREFIX))
    return tuple(module.FORMAT for module in modules if hasattr(module, "FORMAT"))


def added() -> list[EntryPoint]:
    """Return the entry points of installed packages' formats, each named after the file that it writes."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)


def files() -> tuple[str, ...]:
    """Return the names of all files that formats write, those of other packages by their entry points."""
    own = [one.file for one in built_in()]
    return (*own, *(entry.name for entry in added() if not refused(entry.name)))


def texts(report: Report, folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the name and text of each of faultlab's own files; the text is None if this report has no such file."""
    for one in built_in():
        yield one.file, one.text(report, folder)


def added_texts(report: Report, folder: Path) -> Iterator[tuple[str, str | None, str]]:
    """Yield the name, text and error of each file of other packages; with an error there is no text."""
    for entry in added():
        if why := refused(entry.name):
            yield entry.name, None, _complaint(entry, why)
            continue
        try:
            found: Format | FolderFormat = entry.load()
            if found.file != entry.name:
                yield (
                    entry.name,
                    None,
                    _complaint(entry, f"it declares the file {found.file!r}: expected its entry point's name"),
                )
                continue
            text = found.text(report, folder)
            if not isinstance(text, (str, type(None))):
                raise TypeError(f"it rendered {type(text).__name__}: expected str or None")
        except Exception as error:  # code of other packages may raise anything
            yield entry.name, None, _complaint(entry, f"{type(error).__name__}: {safe_text(error)}")
        else:
            yield entry.name, text, ""


def refused(name: str) -> str:
    """Return why no format may write a file of that name; empty if one may."""
    if not _FILE.fullmatch(name):
        return "invalid file name: expected letters, digits, dots, dashes and underscores"
    taken = {*run_folder.CONCLUSIONS, *run_folder.KEPT, *(one.file for one in built_in())}
    return "faultlab itself writes a file of that name; use another name" if name in taken else ""


def _complaint(entry: EntryPoint, why: str) -> str:
    package = "" if entry.dist is None else f" of {entry.dist.name}"
    return (
        f"the format {entry.name!r}{package}, {entry.value}, was not written: {why}\n"
        "    The report and its other files are complete. Fix or remove that package, then run `faultlab report`."
    )

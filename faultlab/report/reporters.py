"""The formats that a report is written in, each declared by one file, and those that installed packages add.

A file of `faultlab.report.formats` registers itself by what it names ``FORMAT``::

    FORMAT = Format("junit.xml", render)

A package adds one by an entry point of the group ``faultlab.reporters``, which has the written file's name and leads
to the same declaration. Names are known without importing anything of other packages.
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
    """A file that is written beside report.json, and what renders it of the report alone."""

    file: str
    render: Callable[[Report], str]

    def text(self, report: Report, folder: Path) -> str | None:
        """Return what the file has to hold, or None where this report has no such file."""
        return self.render(report)


@dataclass(frozen=True)
class FolderFormat:
    """A file that is rendered of the report and of what else its run folder holds; None for no such file."""

    file: str
    render: Callable[[Report, Path], str | None]

    def text(self, report: Report, folder: Path) -> str | None:
        """Return what the file has to hold, or None where this report has no such file."""
        return self.render(report, folder)


@cache
def built_in() -> tuple[Format | FolderFormat, ...]:
    """Return the formats of faultlab, by the names of their modules."""
    modules = (importlib.import_module(info.name) for info in pkgutil.iter_modules(formats.__path__, _PREFIX))
    return tuple(module.FORMAT for module in modules if hasattr(module, "FORMAT"))


def added() -> list[EntryPoint]:
    """Return the entry points by which installed packages add formats, each named after the file that it writes."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)


def files() -> tuple[str, ...]:
    """Return the names of all files that formats write; those of other packages are told by their entry points."""
    own = [one.file for one in built_in()]
    return (*own, *(entry.name for entry in added() if not refused(entry.name)))


def texts(report: Report, folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the name and the text of each of faultlab's own files; None where this report has no such file."""
    for one in built_in():
        yield one.file, one.text(report, folder)


def added_texts(report: Report, folder: Path) -> Iterator[tuple[str, str | None, str]]:
    """Yield name, text and complaint of each file of other packages; where there is a complaint there is no text."""
    for entry in added():
        if why := refused(entry.name):
            yield entry.name, None, _complaint(entry, why)
            continue
        try:
            found: Format | FolderFormat = entry.load()
            if found.file != entry.name:
                yield entry.name, None, _complaint(entry, f"it declares {found.file!r}, and not its entry point's name")
                continue
            text = found.text(report, folder)
            if not isinstance(text, (str, type(None))):
                raise TypeError(f"it rendered {type(text).__name__}, and no text")
        except Exception as error:  # whatever foreign code does
            yield entry.name, None, _complaint(entry, f"{type(error).__name__}: {safe_text(error)}")
        else:
            yield entry.name, text, ""


def refused(name: str) -> str:
    """Return why no format may write a file of that name beside the others; empty where one may."""
    if not _FILE.fullmatch(name):
        return "a format is named after the file that it writes, of letters, digits, dots, dashes and underscores"
    taken = {*run_folder.CONCLUSIONS, *run_folder.KEPT, *(one.file for one in built_in())}
    return "faultlab writes a file of that name itself; take another" if name in taken else ""


def _complaint(entry: EntryPoint, why: str) -> str:
    package = "" if entry.dist is None else f" of {entry.dist.name}"
    return (
        f"the format {entry.name!r}{package}, {entry.value}, was not written: {why}\n"
        "    The report and its other files are complete. Mend or remove that package, then run `faultlab report`."
    )

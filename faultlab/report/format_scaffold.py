"""The scaffold of a new report format: a file to fill in, which registers itself."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from faultlab.core import atomic_write
from faultlab.errors import UsageError
from faultlab.report import reporters

# The contract's tests have to fail until it is filled in: a file without a word sees to that.
_FILE = '''\
"""{file}: say in a few words what it is for."""

from __future__ import annotations

from faultlab.core.report import Report
from faultlab.report.reporters import Format


def render(report: Report) -> str:
    """Say in one sentence what the file holds."""
    return ""


FORMAT = Format("{file}", render)
'''


def add(name: str, folder: Path) -> Path:
    """Write the scaffold of the format of a file of that name, such as ``findings.csv``, and return where it is.

    Raises:
        UsageError: No file beside a report may have that name, or there is such a format.
    """
    if refused := reporters.refused(name):
        raise UsageError(f"{name!r} can't be added: {refused}")
    stem = name.partition(".")[0]
    module = re.sub(r"\W", "_", stem).lower()
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(f"{name!r} can't be added: its format lies in a module, and none may be called {module!r}")
    file = folder / f"{module}.py"
    if file.exists():
        raise UsageError(f"{name!r} can't be added: {file} is there already")
    atomic_write.write(file, _FILE.format(file=name))
    return file

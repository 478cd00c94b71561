"""The scaffold of a new report format: a file to complete, which registers itself."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from faultlab.core import atomic_write
from faultlab.errors import UsageError
from faultlab.report import reporters

# An empty text makes the contract's tests fail until the format is completed.
_FILE = '''\
"""{file}: describe in a few words what it is for."""

from __future__ import annotations

from faultlab.core.report import Report
from faultlab.report.reporters import Format


def render(report: Report) -> str:
    """Describe in one sentence what the file contains."""
    return ""


FORMAT = Format("{file}", render)
'''


def add(name: str, folder: Path) -> Path:
    """Write the scaffold of a format and return its path.

    Raises:
        UsageError: The name is invalid or reserved, or the format exists.
    """
    if refused := reporters.refused(name):
        raise UsageError(f"{name!r} can't be added: {refused}")
    stem = name.partition(".")[0]
    module = re.sub(r"\W", "_", stem).lower()
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(f"{name!r} can't be added: the name of its module would be {module!r}")
    file = folder / f"{module}.py"
    if file.exists():
        raise UsageError(f"{name!r} can't be added: {file} already exists")
    atomic_write.write(file, _FILE.format(file=name))
    return file

"""The scaffold of a new ready-made guard: a file to fill in, exported by ``faultlab.guards``."""

from __future__ import annotations

import re
from pathlib import Path

from faultlab.catalogue import guard_index, import_lines
from faultlab.core import atomic_write
from faultlab.errors import UsageError

_NAME = re.compile(r"([A-Z][a-z0-9]+)+")

# The contract's tests must fail until the scaffold is filled in, as they do for a guard without checks.
_FILE = '''\
"""Describe in one sentence what has to hold."""

from __future__ import annotations

from typing import Any

from faultlab.guards.guard import Guard
from faultlab.guards.support.training_view import TrainingView


class {name}(Guard):
    """Detects: describe what goes wrong, and when the guard looks."""

    checks = {{}}
    causes = {{}}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        """Reset the state of the previous training."""

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call self.alarm("check", "what was found", "What to do.") if one of the checks fails."""
'''


def add(name: str, folder: Path) -> list[Path]:
    """Write the scaffold of a guard with that name, and return the files that were written.

    If the folder is that of ``faultlab.guards``, the guard is exported there, too.

    Raises:
        UsageError: The name is invalid, or the guard already exists.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"invalid guard name {name!r}: expected the name of a class, such as LabelsSpread")
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    file, listing = folder / f"{module}.py", folder / "__init__.py"
    if name in guard_index.guards() or file.exists():
        raise UsageError(f"{name} already exists: {file}")
    listed = listing.read_text(encoding="utf-8") if listing.is_file() else ""
    atomic_write.write(file, _FILE.format(name=name))
    if "from faultlab.guards.guard import" not in listed:
        return [file]
    atomic_write.write(listing, import_lines.exporting(listed, f"faultlab.guards.{module}", name))
    return [file, listing]

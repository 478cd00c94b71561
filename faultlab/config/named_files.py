"""Scripts and config files that a scenario names as arguments of faultlab's own targets: whether they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faultlab.config.yaml_source import Key
from faultlab.core.close_files import did_you_mean

_ARGUMENTS = {
    "faultlab.targets.loop_script.run": "script",
    "faultlab.targets.script.build": "script",
    "faultlab.targets.script.module": "script",
    "faultlab.targets.script.configured": "config",
}


def missing(
    key: str, class_path: str, arguments: dict[str, Any], path: Sequence[str]
) -> Iterator[tuple[Key, str, str]]:
    """Yield the file that an entry of a scenario names and that does not exist: its place, a message and a remedy.

    Args:
        key: The entry, such as ``train``.
        class_path: Its class path.
        arguments: Its ``init_args``.
        path: The folders beside the working folder in which a run looks for the file.
    """
    name = _ARGUMENTS.get(class_path, "")
    if not isinstance(file := arguments.get(name), str) or find(file, path) is not None:
        return
    suggested = did_you_mean(Path(file), f"*{Path(file).suffix or '.py'}")
    remedy = suggested or f"Name it relative to {Path.cwd()}, the folder that faultlab runs in."
    yield (key, "init_args", name), f"no such {name}: {file}", remedy


def find(file: str, path: Sequence[str]) -> Path | None:
    """Return a file of the working folder or of the first folder that has it; None if there is none."""
    return next((found for folder in ("", *path) if (found := Path(folder, file)).is_file()), None)

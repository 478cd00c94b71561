"""Types of command-line options: numbers within a range, writable folders, and names of engines."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from faultlab import engines


class Number(click.FloatRange):
    """A finite number within bounds. click's own range accepts NaN, which compares as neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class OutputFolder(click.Path):
    """A folder that can be written to, or created. Nothing is left in it by the test."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = Path(str(super().convert(value, param, ctx)))
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        try:
            # Not os.access, which is true for root on a read-only file system.
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            self.fail(f"can't write to {str(folder)!r}: {error.strerror}", param, ctx)
        return folder


class EngineName(StringParamType):
    """The name of an engine. Engines of other packages are looked up only when needed, and not imported."""

    name = "engine"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(engines.names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = engines.names()
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, known))}.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in engines.names() if name.startswith(incomplete)]

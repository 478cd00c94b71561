"""Types of command-line options: numbers within a range, and names of engines."""

from __future__ import annotations

import math
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

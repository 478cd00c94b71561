"""Shell completion of failure modes and scenario files, without importing either."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

_HIDDEN = (".", "__pycache__")


def failure_modes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of the failure modes with that prefix; none if the catalogue can't be read."""
    from faultlab.catalogue import index
    from faultlab.errors import FaultlabError

    try:
        return [
            CompletionItem(id, help=mode.summary) for id, mode in index.modes().items() if id.startswith(incomplete)
        ]
    except (FaultlabError, OSError, SyntaxError):
        return []


def scenario_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the YAML files and the folders with that prefix."""
    folder, _, begun = incomplete.rpartition("/")
    base = Path(f"{folder}/") if "/" in incomplete else Path()
    try:
        entries = sorted(base.iterdir())
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in incomplete else ""
    near = [one for one in entries if one.name.startswith(begun) and not one.name.startswith(_HIDDEN)]
    files = [CompletionItem(f"{prefix}{one.name}") for one in near if one.suffix in (".yaml", ".yml")]
    return files + [CompletionItem(f"{prefix}{one.name}/") for one in near if one.is_dir()]

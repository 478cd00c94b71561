"""Defaults of options from ``[tool.faultlab]`` of pyproject.toml, and from environment variables.

``[tool.faultlab]`` has defaults for every command with such an option, ``[tool.faultlab.COMMAND]`` for one command.
Keys are options without their dashes. ``FAULTLAB_COMMAND_OPTION`` sets an option too, and overrides the file; the
command line overrides both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from faultlab.errors import Problem, ScenarioError

if sys.version_info >= (3, 11):
    import tomllib
else:  # which pytest depends on there
    import tomli as tomllib

SECTION = "tool.faultlab"
# Of the options of a command: what it prints about itself, and what makes no sense as a default.
_NEVER = ("help", "version", "debug")

Commands = Callable[[str], click.Command | None]


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return a command's options by their long names without dashes."""
    found = {}
    for param in command.params:
        names = [name for name in param.opts if name.startswith("--")] if isinstance(param, click.Option) else []
        if names and (name := names[0].removeprefix("--")) not in _NEVER:
            found[name] = param
    return found  # type: ignore[return-value]


def name_variables(command: click.Command, prefix: str) -> None:
    """Give each option of a command its environment variable."""
    for name, option in options_of(command).items():
        option.envvar = f"{prefix}_{name}".upper().replace("-", "_")


def read(commands: Iterable[str], command: Commands, folder: Path | None = None) -> dict[str, Any]:
    """Return the defaults of pyproject.toml as click's ``default_map``.

    Args:
        commands: The names of all commands.
        command: Returns a command by its name.
        folder: Where to look for the file, also in the folders above; by default the working folder.

    Raises:
        ScenarioError: The file has an unknown key or invalid TOML.
    """
    file = _nearest(folder or Path.cwd())
    if file is None:
        return {}
    text = file.read_text(encoding="utf-8")
    if "faultlab" not in text:
        return {}
    try:
        tool = tomllib.loads(text).get("tool", {}).get("faultlab", {})
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([Problem(str(file), *_place_in(str(error)), f"invalid TOML: {error}")]) from None
    names = list(commands)
    shared = {key: value for key, value in tool.items() if not isinstance(value, dict)}
    own = {key: value for key, value in tool.items() if isinstance(value, dict)}
    # Importing all commands takes time, so it is done only if an option is set for all of them.
    wanted = [name for name in names if shared or name in own]
    options = {name: options_of(found) for name in wanted if (found := command(name)) is not None}
    every = sorted({key for known in options.values() for key in known})
    problems = [_unknown(file, text, SECTION, key, every) for key in shared if key not in every]
    problems += [_unknown(file, text, SECTION, key, [*names, *every]) for key in own if key not in names]
    for name, known in options.items():
        section = f"{SECTION}.{name}"
        problems += [_unknown(file, text, section, key, known) for key in own.get(name, {}) if key not in known]
    if problems:
        raise ScenarioError(sorted(problems, key=lambda problem: problem.line))
    return {name: _by_parameter(known, {**shared, **own.get(name, {})}) for name, known in options.items()}


def _by_parameter(known: Mapping[str, click.Option], values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(known[key].name): value for key, value in values.items() if key in known}


def _nearest(folder: Path) -> Path | None:
    return next((file for one in (folder, *folder.parents) if (file := one / "pyproject.toml").is_file()), None)


def _unknown(file: Path, text: str, section: str, key: str, known: Iterable[str]) -> Problem:
    from faultlab.catalogue.failure_mode import nearest  # not for every `--help`

    known = list(known)
    remedy = nearest(key, known) or f"Known keys: {', '.join(known)}."
    return Problem(str(file), *_place(text, section, key), f"unknown key {key!r} in [{section}]", remedy)


def _place(text: str, section: str, key: str) -> tuple[int, int]:
    """Return the line and column of a key; of its section if it is written in another way."""
    current, fallback = "", (1, 1)
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            current = header[1].replace('"', "").replace(" ", "")
            if current == section:
                fallback = (number, line.index("[") + 1)
            elif current == f"{section}.{key}":
                return number, line.index("[") + 1
        elif current == section and (found := re.match(rf"""\s*["']?({re.escape(key)})["']?\s*[.=]""", line)):
            return number, found.start(1) + 1
    return fallback


def _place_in(message: str) -> tuple[int, int]:
    found = re.search(r"line (\d+), column (\d+)", message)
    return (int(found[1]), int(found[2])) if found else (1, 1)

"""A YAML file with the line and column of every key and item."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from faultlab.core.close_files import did_you_mean
from faultlab.errors import Problem, ScenarioError, UsageError

Key = tuple[str | int, ...]
_SYNTAX = "Fix the YAML syntax."
HOW_TO_GET_ONE = (
    "Name a scenario file, or write one with `faultlab init train.py` or `faultlab init package.module:LitModel`."
)


class YamlFile:
    """The mapping in a file, and its ``problems``. Raises ScenarioError if the file can't be read."""

    def __init__(self, file: Path, what: str = "a scenario") -> None:
        self._what = what
        self.problems: list[Problem] = []
        self._file = file
        self._marks: dict[Key, tuple[int, int]] = {(): (1, 1)}
        self.data: Mapping[str, Any] = self._read(_text(file))

    def problem(self, where: Key, message: str, remedy: str = "") -> Problem:
        """Return a problem at a key, or at its nearest parent if the key is not in the file."""
        return Problem(str(self._file), *self._marks[self.nearest(where)], message, remedy)

    def nearest(self, where: Key) -> Key:
        """Return the key, or its nearest parent that is in the file."""
        while where not in self._marks:
            where = where[:-1]
        return where

    def _read(self, text: str) -> Mapping[str, Any]:
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise ScenarioError(
                    [self.problem((), f"expected a mapping of {self._what}'s keys", "Begin with `schema: 1`.")]
                )
            # Before the mapping is constructed, which adds merged keys to the node's own.
            unreadable = self._mark(loader, node, (), ())
            if unreadable:
                raise ScenarioError(unreadable)
            return loader.construct_document(node)  # type: ignore[no-any-return]
        except yaml.reader.ReaderError as error:
            place = _place(text[: error.position])
            raise ScenarioError([Problem(str(self._file), *place, f"invalid YAML: {error.reason}", _SYNTAX)]) from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            words = getattr(error, "problem", None) or str(error)
            raise ScenarioError([Problem(str(self._file), *place, f"invalid YAML: {words}", _SYNTAX)]) from None

    def _mark(self, loader: Any, node: yaml.Node, path: Key, within: tuple[yaml.Node, ...]) -> list[Problem]:
        """Record the places of the node's keys and items; return the errors that prevent its construction."""
        self._marks.setdefault(path, _start(node))
        unreadable: list[Problem] = []
        if any(node is outer for outer in within):
            return [
                Problem(str(self._file), *_start(node), "this mapping or list contains itself", "Remove the alias.")
            ]
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value) if _is_text(key) else loader.construct_object(key)
                if (*path, name) in self._marks:
                    message = f"duplicate key {name!r}"
                    self.problems.append(Problem(str(self._file), *_start(key), message, "Remove one of them."))
                self._marks[(*path, name)] = _start(key)
                unreadable += self._mark(loader, value, (*path, name), (*within, node))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                unreadable += self._mark(loader, item, (*path, number), (*within, node))
        else:
            try:
                loader.construct_object(node)
            except (ValueError, KeyError, AttributeError) as error:  # such as a date in the thirteenth month
                message = f"invalid value {node.value!r}: {error}"
                unreadable.append(Problem(str(self._file), *_start(node), message, "Fix it, or put it in quotes."))
        return unreadable


def refuse_script(path: Path) -> None:
    """Raise UsageError for a Python script in place of a scenario."""
    if path.suffix == ".py" and path.is_file():
        remedy = f"Write a scenario for it with `faultlab init {shlex.quote(str(path))}`."
        raise UsageError(f"{path}: a Python script, not a scenario file\n    {remedy}")


def not_found(path: Path) -> str:
    """Return the remedy for a missing scenario: the closest file, or how to write one."""
    return did_you_mean(path, "*.y*ml") or HOW_TO_GET_ONE


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        place = _place(error.object[: error.start].decode("utf-8"))
        raise ScenarioError([Problem(str(file), *place, f"not UTF-8: {error.reason}", "Save it as UTF-8.")]) from None
    except OSError as error:
        remedy = not_found(file) if isinstance(error, FileNotFoundError) else "Name a readable scenario file."
        raise UsageError(f"{file}: {error.strerror}\n    {remedy}") from None


def _place(before: str) -> tuple[int, int]:
    """Return the line and column, from 1, at the end of a text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _is_text(key: yaml.Node) -> bool:
    """Return whether a key is its own name: a string or a merge key, not a number, date or boolean."""
    return not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] in ("str", "merge")


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1

"""A YAML file read together with the place of every key and item."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from faultlab.errors import Problem, ScenarioError, UsageError

Key = tuple[str | int, ...]
_SYNTAX = "Mend the syntax."
HOW_TO_GET_ONE = (
    "Name a scenario's .yaml file; `faultlab init train.py`, or `faultlab init package.module.LitModel`, writes one."
)


class YamlFile:
    """The mapping that a file holds, and what is doubtful about it. Raises ScenarioError where it can't be read."""

    def __init__(self, file: Path, what: str = "a scenario") -> None:
        self._what = what
        self.problems: list[Problem] = []
        self._file = file
        self._marks: dict[Key, tuple[int, int]] = {(): (1, 1)}
        self.data: Mapping[str, Any] = self._read(_text(file))

    def problem(self, where: Key, message: str, remedy: str = "") -> Problem:
        """A problem at a key, or at the nearest one that holds it where the key is not in the file."""
        return Problem(str(self._file), *self._marks[self.nearest(where)], message, remedy)

    def nearest(self, where: Key) -> Key:
        """The key, or as much of its beginning as stands in the file."""
        while where not in self._marks:
            where = where[:-1]
        return where

    def _read(self, text: str) -> Mapping[str, Any]:
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise ScenarioError([self.problem((), f"{self._what} is a mapping", "Begin with `schema: 1`.")])
            # Before the mapping is made: making it puts merged keys among the node's own.
            unreadable = self._mark(loader, node, (), ())
            if unreadable:
                raise ScenarioError(unreadable)
            return loader.construct_document(node)  # type: ignore[no-any-return]
        except yaml.reader.ReaderError as error:
            place = _place(text[: error.position])
            raise ScenarioError([Problem(str(self._file), *place, f"not YAML: {error.reason}", _SYNTAX)]) from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            words = getattr(error, "problem", None) or str(error)
            raise ScenarioError([Problem(str(self._file), *place, f"not YAML: {words}", _SYNTAX)]) from None

    def _mark(self, loader: Any, node: yaml.Node, path: Key, within: tuple[yaml.Node, ...]) -> list[Problem]:
        """Notes the places of what the node holds; returns what keeps it from being made."""
        self._marks.setdefault(path, _start(node))
        unreadable: list[Problem] = []
        if any(node is outer for outer in within):
            return [Problem(str(self._file), *_start(node), "this mapping or list holds itself", "Remove the alias.")]
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value) if _is_text(key) else loader.construct_object(key)
                if (*path, name) in self._marks:
                    message = f"the key {name!r} stands twice"
                    self.problems.append(Problem(str(self._file), *_start(key), message, "Keep one of them."))
                self._marks[(*path, name)] = _start(key)
                unreadable += self._mark(loader, value, (*path, name), (*within, node))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                unreadable += self._mark(loader, item, (*path, number), (*within, node))
        else:
            try:
                loader.construct_object(node)
            except (ValueError, KeyError, AttributeError) as error:  # such as a date in the thirteenth month
                message = f"not YAML: {node.value!r} can't be read: {error}"
                unreadable.append(Problem(str(self._file), *_start(node), message, "Mend it, or put it in quotes."))
        return unreadable


def not_found(path: Path) -> str:
    """What to do where there is no such scenario: the one that is meant, or how to get one."""
    known = [str(found) for folder in {path.parent, Path()} for found in folder.glob("*.y*ml")]
    close = get_close_matches(str(path), known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else HOW_TO_GET_ONE


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        place = _place(error.object[: error.start].decode("utf-8"))
        raise ScenarioError([Problem(str(file), *place, f"not UTF-8: {error.reason}", "Save it as UTF-8.")]) from None
    except OSError as error:
        remedy = not_found(file) if isinstance(error, FileNotFoundError) else "Name a scenario file that can be read."
        raise UsageError(f"{file}: {error.strerror}\n    {remedy}") from None


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what comes after the text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _is_text(key: yaml.Node) -> bool:
    """Whether a key is its own name: text, a merge, or what is no key at all; and no number, date or truth value."""
    return not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] in ("str", "merge")


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1

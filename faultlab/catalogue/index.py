"""The catalogue read without importing it: the declarations are parsed from the injectors' source.

Importing an injector imports torch, seconds that `faultlab list` and `explain` must not cost. A declaration is made of
literals, doses and a seam's name, so the syntax tree holds all of it, and no generated file can go stale.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from faultlab.catalogue.failure_mode import ENTRY_POINT_GROUP, Dose, FailureMode, declare
from faultlab.errors import CatalogueError

INJECTORS = Path(__file__).parents[1] / "injectors"


@lru_cache(maxsize=1)
def modes() -> Mapping[str, FailureMode]:
    """Every failure mode by id, built in and of third parties, in order."""
    found: dict[str, FailureMode] = {}
    for file in _files():
        for mode in read(file):
            if mode.id in found:
                raise CatalogueError(f"{mode.id} is declared twice: in {found[mode.id].file} and {mode.file}")
            found[mode.id] = mode
    return dict(sorted(found.items()))


def read(file: Path) -> Iterator[FailureMode]:
    """The failure modes that one source file declares."""
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _name(decorator.func) == "failure_mode":
                    yield _mode(file, node, decorator)


def _files() -> Iterator[Path]:
    yield from sorted(INJECTORS.glob("[!_]*.py"))
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:  # of the package that holds it
            spec = None
        if spec is None or spec.origin is None:
            raise CatalogueError(f"the entry point {entry.name} names {entry.module}, which can't be found")
        yield Path(spec.origin)


def _mode(file: Path, function: ast.FunctionDef, call: ast.Call) -> FailureMode:
    if len(call.args) != 1 or any(keyword.arg is None for keyword in call.keywords):
        raise CatalogueError(f"{file}:{call.lineno}: a declaration is the id and then arguments by name")
    fields: dict[str, Any] = {}
    for name, node in [("id", call.args[0]), *((str(keyword.arg), keyword.value) for keyword in call.keywords)]:
        try:
            fields[name] = _seam(node) if name == "seam" else _value(node)
        except (ValueError, TypeError):
            what = f"{name} is made of literals, so that it can be read without being run, not of {ast.unparse(node)}"
            raise CatalogueError(f"{file}:{node.lineno}: {what}") from None
    line = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return declare(docstring=ast.get_docstring(function, clean=False), file=str(file), line=line, **fields)


def _seam(node: ast.expr) -> str:
    """A seam is named, or made with arguments of its own: its name is its class's."""
    name = _name(node.func if isinstance(node, ast.Call) else node)
    if not name:
        raise ValueError
    return name


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and _name(node.func) == "Dose":
        return Dose(*map(_value, node.args), **{str(k.arg): _value(k.value) for k in node.keywords})
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    return ast.literal_eval(node)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")

"""Lookup of modules and their names in source files, without importing any of them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from faultlab.config.source_lookup import bound_names

# A module with one of these can have names and submodules that its source does not show.
_DYNAMIC = ("__getattr__", "__path__", "sys.modules", "globals()")


def missing_module(name: str, path: Sequence[str]) -> str:
    """Return the first part of a dotted module name that can't be found; empty if it can, or if that is unknown."""
    parts = name.split(".")
    found = _top(parts[0], tuple(path))
    if found is None:
        return parts[0]
    for end in range(2, len(parts) + 1):
        inner = ".".join(parts[:end])
        locations = found.submodule_search_locations
        below = PathFinder.find_spec(inner, list(locations)) if locations is not None else None
        if below is None:
            return "" if _is_dynamic(found) else inner
        found = below
    return ""


def siblings(name: str, path: Sequence[str]) -> list[str]:
    """Return the modules beside a missing one, to suggest one of them."""
    parent, _, _ = name.rpartition(".")
    folders: Iterable[str] = path
    if parent:
        found = spec(parent, path)
        folders = (found.submodule_search_locations or ()) if found is not None else ()
    names = {
        entry.stem
        for folder in folders
        if Path(folder).is_dir()
        for entry in Path(folder).iterdir()
        if entry.stem.isidentifier() and (entry.suffix == ".py" or (entry.is_dir() and any(entry.glob("*.py"))))
    }
    return sorted(f"{parent}.{one}" if parent else one for one in names)


def spec(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of a module, without importing it or its parents; None if it can't be found."""
    parts = name.split(".")
    found = _top(parts[0], tuple(path))
    for end in range(2, len(parts) + 1):
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(".".join(parts[:end]), list(found.submodule_search_locations))
    return found


def source(name: str, path: Sequence[str]) -> ast.Module | None:
    """Return the syntax tree of a module; None if it has no readable Python source."""
    found = spec(name, path)
    return _tree(found.origin) if found is not None and found.origin else None


def names_of(module: ast.Module) -> set[str] | None:
    """Return the names that a module defines; None if its source doesn't show all of them."""
    names = {name for node in module.body for name in bound_names(node)}
    return None if names & {"*", "__getattr__"} else names


@lru_cache
def _top(name: str, path: tuple[str, ...]) -> ModuleSpec | None:
    if name in sys.builtin_module_names:
        return PathFinder.find_spec(name) or importlib.util.find_spec(name)
    found = PathFinder.find_spec(name, list(path))
    if found is not None and found.origin is not None:
        return found
    try:
        # Also asks the finders of editable installs.
        return importlib.util.find_spec(name) or found
    except (ImportError, ValueError):
        return found


@lru_cache
def _tree(file: str) -> ast.Module | None:
    if not file.endswith(".py"):
        return None
    try:
        return ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _is_dynamic(found: ModuleSpec) -> bool:
    if found.origin is None:
        return found.submodule_search_locations is None
    if not found.origin.endswith(".py"):
        return True
    try:
        text = Path(found.origin).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return any(mark in text for mark in _DYNAMIC)

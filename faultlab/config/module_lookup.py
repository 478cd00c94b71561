"""Lookup of modules and their names in source files, without importing any of them."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from faultlab.config.source_lookup import bound_names

# A module with one of these can have names and submodules that its source does not show.
_DYNAMIC = ("__getattr__", "__path__", "sys.modules", "globals()")


def missing_module(name: str, path: Sequence[str]) -> str:
    """Return the first part of a dotted module name that can't be found; empty if it can, or if that is unknown."""
    parts = name.split(".")
    found: _Found | None = None
    for end in range(1, len(parts) + 1):
        inner = ".".join(parts[:end])
        before, found = found, _find(inner, tuple(path))
        if found is None:
            return "" if before is not None and _is_dynamic(before) else inner
    return ""


def siblings(name: str, path: Sequence[str]) -> list[str]:
    """Return the modules beside a missing one, to suggest one of them."""
    parent, _, _ = name.rpartition(".")
    found = _find(parent, tuple(path)) if parent else None
    folders = path if not parent else found.folders if found is not None else ()
    names = {
        entry.stem
        for folder in folders
        if Path(folder).is_dir()
        for entry in Path(folder).iterdir()
        if entry.stem.isidentifier() and (entry.suffix == ".py" or (entry.is_dir() and any(entry.glob("*.py"))))
    }
    return sorted(f"{parent}.{one}" if parent else one for one in names)


def exists(name: str, path: Sequence[str]) -> bool:
    """Return whether a module can be found."""
    return _find(name, tuple(path)) is not None


def folders_of(package: str, path: Sequence[str] = ()) -> Sequence[str]:
    """Return the folders of a package; none if there is none."""
    found = _find(package, tuple(path))
    return found.folders if found is not None else ()


def source(name: str, path: Sequence[str]) -> ast.Module | None:
    """Return the syntax tree of a module; None if it has no readable Python source."""
    found = _find(name, tuple(path))
    return _tree(found.file) if found is not None and found.file else None


def names_of(module: ast.Module) -> set[str] | None:
    """Return the names that a module defines; None if its source doesn't show all of them."""
    names = {name for node in module.body for name in bound_names(node)}
    nodes = list(ast.walk(module))
    # `globals()[name]` that is only read creates no name.
    read = {
        id(node.value.func)
        for node in nodes
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Call)
    }
    created = any(
        (isinstance(node, ast.Name) and node.id in ("globals", "exec") and id(node) not in read)
        or (isinstance(node, ast.Attribute) and node.attr == "modules")
        for node in nodes
    )
    return None if created or names & {"*", "__getattr__", "setattr"} else names


@dataclass(frozen=True)
class _Found:
    """A module: its file, if it has one, and the folders that its submodules are in, if it is a package."""

    file: str | None
    folders: tuple[str, ...]


@lru_cache
def _find(name: str, path: tuple[str, ...]) -> _Found | None:
    parent, _, _ = name.rpartition(".")
    if parent:
        outer = _find(parent, path)
        return _below(name, outer.folders) if outer is not None and outer.folders else None
    found = _below(name, path)
    if found is not None and found.file is not None:
        return found
    try:
        # Also asks the finders of editable installs.
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return found
    if spec is None or spec.loader is None:
        return found
    return _Found(spec.origin, tuple(spec.submodule_search_locations or ()))


def _below(name: str, folders: tuple[str, ...]) -> _Found | None:
    # Not PathFinder, which needs the parents of a namespace package to be imported.
    namespace: list[str] = []
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        found = finder.find_spec(name) if finder is not None else None
        if found is not None and found.loader is not None:
            return _Found(found.origin, tuple(found.submodule_search_locations or ()))
        if found is not None:
            namespace += found.submodule_search_locations or ()
    return _Found(None, tuple(namespace)) if namespace else None


@lru_cache
def _tree(file: str) -> ast.Module | None:
    if not file.endswith(".py"):
        return None
    try:
        return ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _is_dynamic(found: _Found) -> bool:
    if found.file is None:
        return not found.folders
    if not found.file.endswith(".py"):
        return True
    try:
        text = Path(found.file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return any(mark in text for mark in _DYNAMIC)

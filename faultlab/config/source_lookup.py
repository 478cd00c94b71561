"""Lookup of a class's place in the user's source, without importing it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def file_of(class_path: str, root: Path) -> str:
    """Return the file of a class path, relative to the project's root; empty if the project has no such file."""
    module = class_path.rpartition(".")[0]
    # Not the user's, even in faultlab's own repository.
    if module.partition(".")[0] == "faultlab":
        return ""
    for folder in (Path.cwd(), root, root / "src"):
        base = folder / module.replace(".", "/")
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file() and file.resolve().is_relative_to(root):
                return file.resolve().relative_to(root).as_posix()
    return ""


def known_as(class_path: str, script: str, root: Path) -> str:
    """Return the importable path of a class in a training script, whose module is ``__main__`` while it runs."""
    module, _, name = class_path.partition(".")
    if module != "__main__" or not script:
        return class_path
    file = next((found for folder in (Path.cwd(), root) if (found := folder / script).is_file()), Path(script))
    for folder in (Path.cwd(), root, root / "src"):
        if file.resolve().is_relative_to(folder.resolve()):
            parts = file.resolve().relative_to(folder.resolve()).with_suffix("").parts
            if all(map(str.isidentifier, parts)):
                return ".".join([*parts, name])
    return f"{file.stem}.{name}"


def place_of(class_path: str, root: Path) -> dict[str, Any]:
    """Return a class's file, line and the lines of its methods, as in a report's ``target``; its path if not found."""
    file = file_of(class_path, root)
    found: dict[str, Any] = {"class_path": class_path}
    if not file:
        return found
    try:
        tree = ast.parse((root / file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return found
    name = class_path.rpartition(".")[2]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            methods = {
                one.name: one.lineno for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
            return {**found, "file": file, "line": node.lineno, "methods": methods}
    # The file imports the class from another one.
    return {**found, "file": file, "line": 1, "methods": {}}


def within_repository(root: Path) -> str:
    """Return a project's folder relative to its git repository; empty if it is the repository's root."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return "" if folder == root else root.relative_to(folder).as_posix()
    return ""


def bound_names(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a module may bind, also in its branches."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    names: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.alias):
            names.add((part.asname or part.name).partition(".")[0])
        elif isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(part.name)
    return names

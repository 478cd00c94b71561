"""Imports and exports added to source text, at the place and in the order that isort uses."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

_LONGEST = 120


def importing(text: str, module: str, name: str) -> str:
    """Return the source with the import added in its place."""
    known = list(imports(text))
    lines = text.splitlines()
    for node in known:
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names = {ast.unparse(alias) for alias in node.names}
            if name not in names:
                lines[node.lineno - 1 : node.end_lineno] = _import(module, {*names, name})
            return "\n".join(lines) + "\n"
    key = (_section(module), True, module)
    before = [node for node in known if _key(node) < key]
    after = [node for node in known if _key(node) > key]
    new = _import(module, {name})
    if before and _key(before[-1])[0] == key[0]:
        at = before[-1].end_lineno or 0
    elif after and _key(after[0])[0] == key[0]:
        at = after[0].lineno - 1
    else:
        # The first import of its section: a blank line separates it from the previous section.
        at = before[-1].end_lineno or 0 if before else 0
        new = ["", *new]
    lines[at:at] = new
    return "\n".join(lines) + "\n"


def exporting(text: str, module: str, name: str) -> str:
    """Return the source of a package with the name imported, and among those of its ``__all__``."""
    lines = importing(text, module, name).splitlines()
    begin = lines.index("__all__ = [") + 1
    end = lines.index("]", begin)
    # Classes sort before functions, as uppercase letters sort before lowercase ones.
    at = next((number for number in range(begin, end) if lines[number].strip(' ",') > name), end)
    lines.insert(at, f'    "{name}",')
    return "\n".join(lines) + "\n"


def imports(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports at the top level of the source."""
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node


def _import(module: str, names: set[str]) -> list[str]:
    ordered = sorted(names, key=str.lower)
    line = f"from {module} import {', '.join(ordered)}"
    return [line] if len(line) <= _LONGEST else [f"from {module} import (", *(f"    {n}," for n in ordered), ")"]


def _key(node: ast.Import | ast.ImportFrom) -> tuple[int, bool, str]:
    module = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
    return _section(module), isinstance(node, ast.ImportFrom), module


def _section(module: str) -> int:
    top = module.partition(".")[0]
    if top in ("__future__", "faultlab"):
        return {"__future__": 0, "faultlab": 3}[top]
    return 1 if top in sys.stdlib_module_names else 2

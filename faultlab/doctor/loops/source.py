"""Facts about a loop from the source around the lines that ran. Only read, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any

from faultlab.doctor import statements
from faultlab.doctor.finding import Seen

_METHODS = ("step", "backward", "zero_grad", "train", "eval")


def uncalled(seen: Seen, method: str) -> str:
    """Return the place of a statement that names a method without calling it; empty if there is none."""
    for file in _files(seen):
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Attribute) and node.value.attr == method:
                return f"{file}:{node.lineno}"
    return ""


def cuts(seen: Seen) -> list[dict[str, Any]]:
    """Return the expressions that may cut the graph: of the model's forward, else of the function that trains."""
    return [*_of_forward(seen)] or [*_of_loop(seen)]


def _of_forward(seen: Seen) -> Iterator[dict[str, Any]]:
    name = seen.get("root", {}).get("name")
    for file in _files(seen):
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.ClassDef) and node.name == name:
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and method.name != "__init__":
                        yield from ({**cut, "file": file} for cut in statements.cuts(method))


def _of_loop(seen: Seen) -> Iterator[dict[str, Any]]:
    """Yield those of the innermost loop or function around the call of the model or of backward."""
    for kind in ("backward", "model", "evaluation"):
        file, _, line = str(seen["places"].get(kind, "")).rpartition(":")
        if not file:
            continue
        around = [
            node
            for node in ast.walk(_tree(file))
            if isinstance(node, (ast.For, ast.While, ast.FunctionDef))
            and node.lineno <= int(line) <= (node.end_lineno or node.lineno)
        ]
        if around:
            inner = max(around, key=lambda node: node.lineno)
            body = ast.FunctionDef("loop", ast.arguments([], [], None, [], [], None, []), inner.body, [])
            # What follows backward cuts nothing before it.
            found = [one for one in statements.cuts(body) if kind != "backward" or int(one["line"]) <= int(line)]
            if found:
                yield from ({**one, "file": file} for one in found)
                return


def _files(seen: Seen) -> list[str]:
    places = [str(place).rpartition(":")[0] for place in seen["places"].values()]
    return list(dict.fromkeys(file for file in places if file))


@cache
def _tree(file: str) -> ast.Module:
    try:
        with open(file, "rb") as text:
            return ast.parse(text.read())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])

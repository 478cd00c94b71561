"""Facts about small slips in the user's files that only their text shows. Only read, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.statements import called

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
# Layers without weights: the same one several times is as good as several.
_WEIGHTLESS = ("ReLU", "GELU", "ELU", "SiLU", "Tanh", "Sigmoid", "Softmax", "Dropout", "Identity", "Pool", "Flatten")
_ROOTED = ("eps", "1e-", "+", "add", "clamp", "clip", "max(")


def facts(tree: ast.Module) -> dict[str, Iterator[dict[str, Any]]]:
    """Return the slips in a file by kind, as `faultlab.doctor.whole_files.facts` does."""
    return {
        "late": _late(tree),
        "repeated": _repeated(tree),
        "by_step": _by_step(tree),
        "uncleared": _uncleared(tree),
        "roots": _roots(tree),
    }


def _late(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield attributes that ``val_dataloader`` reads and only ``train_dataloader``, which is called later, assigns."""
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        assigned: dict[str, set[str]] = {}
        read: dict[str, int] = {}
        for method in cls.body:
            if not isinstance(method, _FUNCTION):
                continue
            for node in ast.walk(method):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                    if isinstance(node.ctx, ast.Store):
                        assigned.setdefault(node.attr, set()).add(method.name)
                    elif method.name == "val_dataloader":
                        read[node.attr] = node.lineno
        for name, line in read.items():
            if assigned.get(name) == {"train_dataloader"}:
                yield {"line": line, "name": name}


def _repeated(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield containers that get one layer several times."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and called(node) in ("ModuleList", "Sequential")):
            continue
        for given in node.args:
            given = given.value if isinstance(given, ast.Starred) else given
            layer: ast.expr | None = None
            if isinstance(given, ast.BinOp) and isinstance(given.op, ast.Mult):
                lists = [side for side in (given.left, given.right) if isinstance(side, ast.List)]
                layer = lists[0].elts[0] if lists and lists[0].elts else None
            elif isinstance(given, (ast.ListComp, ast.GeneratorExp)) and isinstance(given.elt, ast.Name):
                drawn = [ast.unparse(loop.target) for loop in given.generators]
                layer = given.elt if not any(given.elt.id in names for names in drawn) else None
            if layer is not None and not any(word in ast.unparse(layer) for word in _WEIGHTLESS):
                yield {"line": node.lineno, "name": ast.unparse(layer), "in": called(node)}


def _by_step(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield what ``validation_step`` logs for its steps alone, where something monitors it."""
    monitored = {
        word.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "monitor" and isinstance(word.value, ast.Constant)
    }
    for method in ast.walk(tree):
        if not (isinstance(method, _FUNCTION) and method.name == "validation_step"):
            continue
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and called(node) == "log" and node.args:
                name = getattr(node.args[0], "value", None)
                off = [ast.unparse(word.value) for word in node.keywords if word.arg == "on_epoch"] == ["False"]
                if off and name in monitored:
                    yield {"line": node.lineno, "name": name}


def _uncleared(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield optimizers that a step by hand steps and never clears, although it clears others."""
    for method in ast.walk(tree):
        if not (isinstance(method, _FUNCTION) and method.name == "training_step"):
            continue
        nodes = list(ast.walk(method))
        made = {
            name.id
            for node in nodes
            if isinstance(node, ast.Assign)
            for target, value in _pairs(node)
            if ast.unparse(value).startswith("self.optimizers(")
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        whose = [
            (node.func.attr, ast.unparse(node.func.value), node.lineno)
            for node in nodes
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        lines = {owner: line for name, owner, line in whose if name == "step"}
        cleared = {owner for name, owner, _ in whose if name == "zero_grad"}
        # Whoever clears by module, or clears nothing here, may clear elsewhere.
        if not cleared or not cleared <= made or any(name not in made and "sch" not in name for name in lines):
            continue
        for name, line in lines.items():
            if name in made - cleared:
                yield {"line": line, "name": name}


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the targets of an assignment with their values, each with its own in a, b = c, d."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _roots(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield roots in a module's steps and forward passes that nothing keeps from 0."""
    for cls in ast.walk(tree):
        for method in cls.body if isinstance(cls, ast.ClassDef) else ():
            if not isinstance(method, _FUNCTION) or method.name == "__init__":
                continue
            for node in ast.walk(method):
                if not (isinstance(node, ast.Call) and called(node) == "sqrt"):
                    continue
                text = ast.unparse(node)
                if not text.startswith(("math.", "np.", "numpy.")) and not any(word in text for word in _ROOTED):
                    yield {"line": node.lineno, "name": text}

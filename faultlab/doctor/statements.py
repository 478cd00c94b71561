"""Statements of a method that affect training: unpackings, cuts in the graph, manual steps."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
_MANUAL = "automatic_optimization"
_FOR_MANUAL = ("manual_optimization", "manual_optimisation", "automatic_optimisation", "auto_optimization")
# Methods and functions that return values without gradients, and below, those that only inspect their arguments.
_COMPUTED = (ast.Name, ast.Attribute, ast.Call)
_CUTTING = {"detach", "item", "numpy", "tolist", "argmax", "round", "sign", "requires_grad_", "Variable", "tensor",
            "as_tensor", "from_numpy"}  # fmt: skip
# How people pass metrics to a logger without the Trainer.
_RECORDING = {"log_metrics", "log", "add_scalar", "add_scalars", "log_metric", "track"}
_LOGGERS = {"logger", "loggers", "experiment", "writer", "wandb", "mlflow", "tensorboard"}
_LOOKING = {"log", "log_dict", "print", "append", "format", "update", "add_scalar", "write", "info", "debug"}


def unpackings(method: Function) -> list[dict[str, Any]]:
    """Return where a method unpacks its first argument, and into how many names; starred targets are left out."""
    names = [argument.arg for argument in method.args.args[1:2]]
    return [
        {"line": node.lineno, "parts": len(node.targets[0].elts)}
        for node in ast.walk(method)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], (ast.Tuple, ast.List))
        and isinstance(node.value, ast.Name)
        and node.value.id in names
        and not any(isinstance(one, ast.Starred) for one in node.targets[0].elts)
    ]


def literal_rates(method: Function) -> list[dict[str, Any]]:
    """Return the learning rates that a method writes as numbers."""
    return [
        {"line": word.value.lineno, "rate": word.value.value}
        for word in ast.walk(method)
        if isinstance(word, ast.keyword)
        and word.arg == "lr"
        and isinstance(word.value, ast.Constant)
        and isinstance(word.value.value, (int, float))
    ]


def unpacking_at(text: str, line: int) -> int | None:
    """Return the number of names that the statement on a line unpacks into, or None if it unpacks nothing."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Assign, ast.For)) and node.lineno == line:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, (ast.Tuple, ast.List)):
                return len(target.elts)
    return None


def cuts(method: Function) -> list[dict[str, Any]]:
    """Return the expressions that cut off gradients."""
    found = [
        {"line": one.lineno, "what": ast.unparse(one)}
        for one in method.decorator_list
        if any(word in ast.unparse(one) for word in ("no_grad", "inference_mode"))
    ]
    looked_at = {
        id(inner)
        for call in ast.walk(method)
        if isinstance(call, ast.Call) and called(call) in _LOOKING
        for inner in ast.walk(call)
    }
    for node in ast.walk(method):
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                text = ast.unparse(item.context_expr)
                if any(word in text for word in ("no_grad", "inference_mode", "set_grad_enabled(False")):
                    found.append({"line": node.lineno, "what": f"with {text}"})
        elif isinstance(node, ast.Call) and called(node) in _CUTTING and id(node) not in looked_at and _cuts(node):
            method_of = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) != "torch"
            what = f".{called(node)}()" if method_of else f"{ast.unparse(node.func)}(...)"
            found.append({"line": node.lineno, "what": what})
        elif (
            isinstance(node, ast.Attribute)
            and node.attr == "data"
            and id(node) not in looked_at
            and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "torch", "utils"))
        ):
            found.append({"line": node.lineno, "what": ".data"})
    return sorted(found, key=lambda one: int(one["line"]))


def _cuts(call: ast.Call) -> bool:
    """Return False for a tensor of written numbers, which was never part of a graph."""
    made = called(call) in ("tensor", "as_tensor", "array")
    return not (made and call.args and not any(isinstance(one, _COMPUTED) for one in ast.walk(call.args[0])))


def own_steps(method: Function) -> list[dict[str, Any]]:
    """Return where a method calls backward or steps an optimizer itself."""
    return [
        {"line": node.lineno, "what": called(node)}
        for node in ast.walk(method)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if called(node) in ("backward", "manual_backward") or (called(node) == "step" and not node.args)
    ]


def past_the_trainer(method: Function) -> list[dict[str, Any]]:
    """Return metrics that a method passes directly to a logger, so that callbacks do not see them: line, call, keys."""
    found = []
    for node in ast.walk(method):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and called(node) in _RECORDING:
            text = ast.unparse(node.func)
            if any(part in _LOGGERS for part in text.split(".")[:-1]):
                keys = [
                    word.value
                    for argument in [*node.args, *(one.value for one in node.keywords)]
                    for word in ast.walk(argument)
                    if isinstance(word, ast.Constant) and isinstance(word.value, str)
                ]
                found.append({"line": node.lineno, "what": text, "keys": keys})
    return found


def near_manual(method: Function) -> list[dict[str, Any]]:
    """Return assigned attributes with almost the name automatic_optimization, the only one that Lightning reads."""
    return [
        {"line": node.lineno, "name": target.attr}
        for node in ast.walk(method)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
        if target.attr != _MANUAL and _is_near(target.attr)
    ]


def main_guards(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines and texts of wrong tests of ``__name__`` against "__main__"."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and len(node.comparators) == 1:
            other = node.comparators[0]
            if node.left.id in ("__name__", "__main__", "_name_", "name") and isinstance(other, ast.Constant):
                near = str(other.value).strip("_").lower() in ("main", "name", "mian")
                if near and (node.left.id, other.value) != ("__name__", "__main__"):
                    yield node.lineno, ast.unparse(node)


def called(call: ast.Call) -> str:
    """Return the name of a called function or method, without the object that it belongs to."""
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _is_near(name: str) -> bool:
    return name in _FOR_MANUAL or SequenceMatcher(None, name, _MANUAL).ratio() > 0.85

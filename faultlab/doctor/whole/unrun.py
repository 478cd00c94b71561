"""Statements that a training relies on and that never ran, because a condition was never true. Only read, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.statements import called

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_LAYERS = ("nn.init.", "init.", "torch.nn.init.")
_FILLED = {"normal_", "uniform_", "zero_", "fill_", "xavier_uniform_", "kaiming_normal_"}
# What a run gets from outside, or what no healthy one meets.
_ASKED = ("args", "config", "cfg", "opt", "hparams", "resume", "pretrain", "checkpoint", "ckpt", "exists", "is_file",
          "path", "isnan", "isfinite", "isinf", "nan", "debug", "verbose")  # fmt: skip


def facts(tree: ast.Module, lines: set[int]) -> Iterator[dict[str, Any]]:
    """Yield such statements by ``kind``, with their line, and the line and text of the condition.

    Args:
        tree: The file.
        lines: Its lines that ran.
    """
    counters = {ast.unparse(node.target) for node in ast.walk(tree) if isinstance(node, ast.AugAssign)}
    ran = {
        kind for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno in lines and (kind := _kind(node))
    }
    told: set[str] = set()
    for scope in ast.walk(tree):
        if not isinstance(scope, (*_FUNCTION, ast.Module)):
            continue
        targets = {name for node in ast.walk(scope) if isinstance(node, ast.For) for name in _names(node.target)}
        given = {one.arg for one in scope.args.args} - {"self"} if isinstance(scope, _FUNCTION) else set()
        for condition in ast.walk(scope):
            if not isinstance(condition, ast.If) or condition.lineno not in lines:
                continue
            for statement, branch in _under(condition):
                kind = _kind(statement)
                if not kind or kind in ran or kind in told or statement.lineno in lines:
                    continue
                # A counter of bad epochs may stay low in a healthy training.
                changing = targets | (counters if kind == "restore" else set())
                changing |= given if kind in ("init", "freeze") else set()
                plain = isinstance(condition.test, ast.Compare)
                better = kind == "keep" and plain and "best" in ast.unparse(condition.test).lower()
                if better or _changes(condition.test, changing):
                    told.add(kind)
                    yield {"kind": kind, "line": statement.lineno, "text": ast.unparse(statement)[:80],
                           "condition": ast.unparse(condition.test)[:80], "at": condition.lineno,
                           "never": "true" if branch else "false"}  # fmt: skip


def _under(condition: ast.If) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the statements that the condition decides about alone, and whether they run where it is true."""
    for body, branch in ((condition.body, True), (condition.orelse, False)):
        for one in body:
            if not (isinstance(one, ast.If) and not branch):
                yield one, branch
            if isinstance(one, (ast.For, ast.With)):
                yield from ((inner, branch) for inner in one.body)


def _kind(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and "best" in ast.unparse(statement.targets[0]).lower():
        return "keep" if "state_dict(" in ast.unparse(statement.value) else ""
    if isinstance(statement, (ast.Assign, ast.AugAssign)):
        text = ast.unparse(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target)
        if text.endswith(".requires_grad"):
            return "freeze"
        return "rate" if "param_groups" in text or text.endswith(("['lr']", '["lr"]')) else ""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return ""
    call = statement.value
    name, text = called(call), ast.unparse(call.func)
    if name == "load_state_dict":
        return "restore"
    if name == "save" and "best" in ast.unparse(call).lower():
        return "keep"
    if name in ("requires_grad_", "freeze", "unfreeze"):
        return "freeze"
    if text.startswith(_LAYERS) or (name in _FILLED and "weight" in text):
        return "init"
    return "rate" if name == "step" and "sched" in text else ""


def _changes(test: ast.expr, changing: set[str]) -> bool:
    text = ast.unparse(test)
    if any(word in text.lower() for word in _ASKED):
        return False
    parts = {ast.unparse(node) for node in ast.walk(test) if isinstance(node, (ast.Name, ast.Attribute))}
    return bool(parts & changing)


def _names(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}

"""Comparisons and returned values of a script that contradict their names. Only read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.statements import called

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOWER = re.compile(r"(loss|err(or)?|mse|mae|rmse|perplexity|ppl|nll)(es|s)?$")
_HIGHER = re.compile(r"(acc(uracy)?|f1|auc|auroc|r2|iou|dice|precision|recall)s?$")
_SEEDS = ("manual_seed", "seed_everything", "set_seed", "fix_seed", "set_random_seed")
_BATCHES = re.compile(r"epoch|batch|step|iteration")
_LOADER = re.compile(r"loader|batches|_dl$|^dl$")
_APPLIES = {"apply_shadow", "apply_ema", "copy_to", "swap", "average_parameters", "store_and_apply", "apply"}
_AVERAGE = re.compile(r"ema$|ema[A-Z_]|movingaverage|averagedmodel|weightaverag", re.IGNORECASE)


def facts(tree: ast.Module) -> dict[str, Iterator[dict[str, Any]]]:
    """Return these facts of a file by kind, as `faultlab.doctor.whole_files.facts` does."""
    return {"directions": _directions(tree), "last_batch": _last_batch(tree), "seeded": _seeded(tree),
            "averages": _averages(tree), "plateaus": _plateaus(tree)}  # fmt: skip


def _directions(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield where the larger loss, or the smaller accuracy, becomes the best one."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1):
            continue
        left, right, op = node.test.left, node.test.comparators[0], node.test.ops[0]
        value, best = (left, right) if "best" in ast.unparse(right).lower() else (right, left)
        name = ast.unparse(value).lower()
        larger = isinstance(op, (ast.Gt, ast.GtE)) == (value is left)
        kept = {
            ast.unparse(target)
            for one in node.body
            if isinstance(one, ast.Assign) and ast.unparse(one.value) == ast.unparse(value)
            for target in one.targets
        }
        if not isinstance(op, (ast.Gt, ast.GtE, ast.Lt, ast.LtE)) or ast.unparse(best) not in kept:
            continue
        if (larger and _LOWER.search(name)) or (not larger and _HIGHER.search(name)):
            yield {"line": node.lineno, "text": ast.unparse(node.test), "name": ast.unparse(value),
                   "best": ast.unparse(best), "larger": larger}  # fmt: skip


def _plateaus(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield steps of a ReduceLROnPlateau with a metric that its mode does not fit."""
    modes = {
        ast.unparse(node.targets[0]): next(
            (getattr(word.value, "value", None) for word in node.value.keywords if word.arg == "mode"),
            getattr(node.value.args[1], "value", None) if len(node.value.args) > 1 else "min",
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and called(node.value) == "ReduceLROnPlateau"
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "step"
            and node.args
        ):
            mode, name = modes.get(ast.unparse(node.func.value)), ast.unparse(node.args[0])
            pattern = {"min": _HIGHER, "max": _LOWER}.get(str(mode))
            if pattern is not None and pattern.search(name.lower()):
                yield {"line": node.lineno, "mode": mode, "name": name}


def _last_batch(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield what an evaluation returns of names that only the loop over the batches assigns: those of the last one."""
    for function in ast.walk(tree):
        if not isinstance(function, _FUNCTION) or "backward" in ast.unparse(function):
            continue
        body = [one for part in function.body for one in (part.body if isinstance(part, ast.With) else [part])]
        for loop in body:
            if not (isinstance(loop, ast.For) and _LOADER.search(ast.unparse(loop.iter).lower())):
                continue
            inside = set(_stored([loop]))
            outside = set(_stored([one for one in body if one is not loop])) | {one.arg for one in function.args.args}
            added = {ast.unparse(node.target) for node in ast.walk(loop) if isinstance(node, ast.AugAssign)}
            ends = any(isinstance(node, (ast.Break, ast.Return)) for node in ast.walk(loop))
            for one in function.body if not ends else ():
                if not isinstance(one, ast.Return) or one.value is None:
                    continue
                used = {node.id for node in ast.walk(one.value) if isinstance(node, ast.Name)}
                last = sorted(used & (inside - outside - added))
                if last and one.lineno > loop.lineno:
                    yield {"line": one.lineno, "text": ast.unparse(one)[:80], "name": last[0], "loop": loop.lineno}


def _seeded(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield constant seeds that are set again in each epoch or step."""
    for loop in ast.walk(tree):
        if not isinstance(loop, ast.For) or not _BATCHES.search(ast.unparse(loop.target).lower()):
            continue
        targets = {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
        for node in ast.walk(loop):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) in _SEEDS:
                used = {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
                if not used & targets:
                    yield {"line": node.lineno, "text": ast.unparse(node)}


def _averages(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield classes of averaged weights that are updated, and whose average no one puts into a model."""
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef) or not _AVERAGE.search(cls.name):
            continue
        methods = {one.name for one in cls.body if isinstance(one, _FUNCTION)}
        applies = methods & _APPLIES
        if applies and not applies & named and "forward" not in methods and methods & named & {"update", "step"}:
            yield {"line": cls.lineno, "name": cls.name, "text": sorted(applies)[0]}


def _stored(nodes: list[ast.stmt]) -> Iterator[str]:
    for one in nodes:
        for node in ast.walk(one):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id

"""Weights that a script keeps as the best ones and never uses again. Only read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.statements import called

_BEST = re.compile(r"best\w*(state|weight|model|param|net|wts)|best_sd", re.IGNORECASE)
_LOADS = ("load_state_dict", "load_from_checkpoint", "torch.load", "ckpt_path", "best_model_path", "from_pretrained")
_EVALUATES = ("test", "validate", "predict")


def facts(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield where a file that loads none keeps the best weights: ``by`` a Trainer's callback, or the script."""
    text = ast.unparse(tree)
    if any(word in text for word in _LOADS):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _BEST.search(ast.unparse(node.targets[0])):
            value = ast.unparse(node.value)
            # A model of its own may be what is evaluated.
            if "state_dict(" in value:
                yield {"line": node.lineno, "text": ast.unparse(node)[:80], "by": "script"}
                return
        call = ast.unparse(node) if isinstance(node, ast.Call) and called(node) == "save" else ""
        if isinstance(node, ast.Call) and "best" in call.lower() and "state_dict" in call:
            yield {"line": node.lineno, "text": call[:80], "by": "script"}
            return
    yield from _of_trainer(tree)


def _of_trainer(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield an evaluation of the last weights, beside a callback that keeps the best ones by a metric."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    kept = [
        one for one in calls if called(one) == "ModelCheckpoint" and any(word.arg == "monitor" for word in one.keywords)
    ]
    if not kept:
        return
    for one in calls:
        if called(one) in _EVALUATES and "trainer" in ast.unparse(one.func).lower() and _names_a_model(one):
            yield {"line": one.lineno, "text": ast.unparse(one)[:80], "by": "trainer"}
            return


def _names_a_model(call: ast.Call) -> bool:
    return bool(call.args) or any(word.arg == "model" for word in call.keywords)

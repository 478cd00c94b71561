"""Statements of the user's files that have no effect. Only read, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.statements import called

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_METHODS = {"eval", "train", "backward", "step", "zero_grad", "freeze", "unfreeze", "reset", "requires_grad_",
            "detach_", "update", "clear", "cuda"}  # fmt: skip
_FUNCTIONALS = ("F", "nn.functional", "torch.nn.functional", "functional", "torch")
_PURE = {"relu", "gelu", "leaky_relu", "elu", "silu", "dropout", "normalize", "softmax", "log_softmax", "sigmoid",
         "tanh", "clamp", "clip", "cat", "stack", "squeeze", "unsqueeze", "transpose", "permute", "reshape", "flatten",
         "where", "masked_fill", "layer_norm", "pad", "interpolate", "one_hot", "nan_to_num", "roll", "flip",
         "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "avg_pool1d", "max_pool1d", "no_grad", "inference_mode",
         "enable_grad", "autocast", "randperm", "compile", "load"}  # fmt: skip
_OF_TENSORS = {"masked_fill", "unsqueeze", "squeeze", "permute", "transpose", "reshape", "view", "clamp", "detach",
               "softmax", "log_softmax", "sigmoid", "contiguous", "index_fill", "index_add", "index_copy",
               "scatter_add", "long", "nan_to_num", "type_as", "repeat_interleave", "masked_scatter"}  # fmt: skip
_RETURNED = {"convert_sync_batchnorm", "load_from_checkpoint", "DataParallel", "DistributedDataParallel",
             "get_peft_model", "deepcopy", "sorted", "permutation"}  # fmt: skip
_OF_DATASETS = {"map", "filter", "shuffle", "rename_column", "remove_columns", "with_format", "select", "cast_column"}
_OF_FRAMES = {"drop", "dropna", "fillna", "replace", "rename", "reset_index", "sort_values", "astype", "sample",
              "drop_duplicates"}  # fmt: skip
_COPIES = (".clone()", ".detach().clone()", ".cpu()", ".numpy()", "deepcopy(", ".copy()", ".tolist()")


def facts(tree: ast.Module) -> dict[str, Iterator[dict[str, Any]]]:
    """Return the statements without effect in a file by kind, as `faultlab.doctor.whole_files.facts` does."""
    return {"uncalled_methods": _uncalled(tree), "dropped": _dropped(tree), "copies": _copies(tree)}


def _uncalled(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield methods that a statement names and does not call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Attribute) and node.value.attr in _METHODS:
            yield {"line": node.lineno, "name": ast.unparse(node.value)}


def _dropped(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield calls that change nothing and whose result no one takes."""
    packages = _imported(tree)
    layers = _layers(tree)
    for function in (tree, *(node for node in ast.walk(tree) if isinstance(node, _FUNCTION))):
        for node in _statements(function):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
                continue
            call = node.value
            own = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self"
            layer = own and getattr(function, "name", "") == "forward" and called(call) in layers
            if (layer or _is_pure(call, packages)) and not _in_place(call):
                yield {"line": node.lineno, "name": ast.unparse(call.func), "text": ast.unparse(call)[:80]}


def _is_pure(call: ast.Call, packages: set[str]) -> bool:
    name = called(call)
    if not isinstance(call.func, ast.Attribute):
        return name in _RETURNED
    owner = ast.unparse(call.func.value)
    if owner in _FUNCTIONALS and not (owner == "torch" and "torch" not in packages):
        return name in _PURE
    if name in _RETURNED:
        return True
    if "datasets" in packages and name in _OF_DATASETS and "dataset" in owner.lower():
        return True
    if "pandas" in packages and name in _OF_FRAMES and ("df" in owner.lower() or "frame" in owner.lower()):
        return True
    return name in _OF_TENSORS and "torch" in packages


def _copies(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield initializations in place of what is a copy."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
        ):
            owner, given = ast.unparse(node.value.func.value), node.value.args
            text = ast.unparse(given[0]) if given else ""
            if owner in ("nn.init", "init", "torch.nn.init") and text.endswith(_COPIES):
                yield {"line": node.lineno, "name": ast.unparse(node.value.func), "text": text}


def _statements(function: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a function, without those of functions inside it."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _FUNCTION):
            continue
        if isinstance(node, ast.stmt):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _layers(tree: ast.Module) -> set[str]:
    """Return the names of attributes that are one of torch's layers."""
    return {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).startswith(("nn.", "torch.nn."))
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }  # fmt: skip


def _in_place(call: ast.Call) -> bool:
    return any(word.arg in ("inplace", "out") for word in call.keywords)


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names

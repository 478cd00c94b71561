"""The contents of a dataset: the data of its samples, and generators that it draws from."""

from __future__ import annotations

import ast
import inspect
import random
import textwrap
import types
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from faultlab.guards.support import packages

_GENERATORS = (torch.Generator, numpy.random.RandomState, numpy.random.Generator, random.Random)
_STORED = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8)
_LEAST = 4
_DEPTH = 4
_READERS = ("__getitem__", "__getitems__", "__iter__")
_SEEDING = frozenset(
    {"get_worker_info", "initial_seed", "manual_seed", "seed", "RandomState", "default_rng", "SeedSequence", "spawn"}
) | {"Generator", "Random", "worker_id", "set_state", "setstate", "__dict__", "vars", "getattr"}


def parts(dataset: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield a dataset and those that it is made of."""
    yield dataset
    inner = getattr(dataset, "dataset", None)
    listed = getattr(dataset, "datasets", None)
    for part in [inner, *(listed if isinstance(listed, (list, tuple)) else ())]:
        if part is not None and depth:
            yield from parts(part, depth - 1)


def stored(dataset: Any) -> list[tuple[str, Tensor]]:
    """Return the arrays and tensors that a dataset keeps with a row of several values for each sample, by name.

    They share their memory with the dataset.
    """
    try:
        count = len(dataset)
    except (TypeError, NotImplementedError):
        return []
    found = []
    for name, value in _attributes(dataset).items():
        tensor = _tensor(value)
        if tensor is None or tensor.dtype not in _STORED or tensor.dim() < 2 or not tensor.is_contiguous():
            continue
        if len(tensor) == count > 1 and tensor[0].numel() >= _LEAST and tensor.device.type == "cpu":
            found.append((f"{type(dataset).__name__}.{name}", tensor.detach()))
    return found


def generators_drawn_from(dataset: Any) -> list[str]:
    """Return the names of a dataset's generators that its reading of samples draws from, without seeding any."""
    names = {name for name, value in _attributes(dataset).items() if isinstance(value, _GENERATORS)}
    if not names or hasattr(type(dataset), "__setstate__"):
        return []
    read = _names_in_reading(type(dataset), names)
    return sorted(names & read) if read is not None and not read & _SEEDING else []


def is_seeded(loader: DataLoader[Any]) -> bool:
    """Return whether the loader's workers seed what they draw from by a function of the user's own."""
    given: Any = loader.worker_init_fn
    function = getattr(given, "func", given)
    # Lightning's own seeds the generators of torch, NumPy and Python alone.
    return function is not None and not packages.stock(function)


def _attributes(dataset: Any) -> dict[str, Any]:
    return vars(dataset) if hasattr(dataset, "__dict__") else {}


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if type(value) is Tensor and value.layout is torch.strided else None
    writable = isinstance(value, numpy.ndarray) and value.flags.writeable and not isinstance(value, numpy.memmap)
    try:
        return torch.from_numpy(value) if writable else None
    except (TypeError, ValueError):  # of another kind of values, or in another order
        return None


def _names_in_reading(cls: type, there: set[str]) -> set[str] | None:
    """Return the names in the methods that read a sample, None if their source can't be read.

    Code that runs only if one of the attributes that are there is missing is left out.
    """
    waiting, seen = [*_READERS], {*_READERS}
    found: set[str] = set()
    while waiting:
        method = getattr(cls, waiting.pop(), None)
        if not isinstance(method, types.FunctionType):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
        except (OSError, SyntaxError):
            return None
        names = _names(tree, there)
        found |= names
        waiting += sorted(names - seen)
        seen |= names
    return found


def _names(node: ast.AST, there: set[str]) -> set[str]:
    if isinstance(node, ast.If) and _is_missing(node.test, there):
        return set().union(*(_names(part, there) for part in node.orelse))
    own = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    return own.union(*(_names(part, there) for part in ast.iter_child_nodes(node)))


def _is_missing(test: ast.AST, there: set[str]) -> bool:
    """Return whether a condition is that one of the attributes is None."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Attribute)
        and test.left.attr in there
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Is)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value is None
    )

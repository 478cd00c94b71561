"""Samples that are concatenated in a batch, as the nodes of several graphs are, and the parts that delimit them.

Such samples have a count, but can't be taken out row by row: edges would point at removed rows, and the remaining rows
would be counted to another sample. They are recognized by the batch's contents, whatever its class and the names of its
parts: by the sample of each row, by the row where each sample begins, by the number of rows of each sample, or by a
graph that knows how many it consists of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from faultlab.core.leaf_names import words
from faultlab.injection import tree

Joins = Mapping[tree.Path, str]
"""The parts that define how samples are joined, and the kind of each: owner, start, size, graph or edge."""

_NAMES = {"owner": {"batch", "graph", "graphs"}, "start": {"ptr", "indptr", "splits", "offsets"}, "size": set[str]()}
_EDGES = ("edge_index", "adj_t")


def joins(batch: Any, expected: int | None) -> dict[tree.Path, str]:
    """Return the parts that define how the samples of the batch are joined; empty if they are not.

    ``expected`` is the batch size according to the loader, None if it does not batch.
    """
    tensors = tree.tensors(batch)
    parts = {path: tensor for path, tensor in tensors if tensor.layout is torch.strided and tensor.ndim}
    found = {path: "graph" for path, node in tree.nodes(batch) if _is_batched_graph(node)}
    for kind in _OWNERS:
        for path, tensor in parts.items():
            if path not in found and _tells_apart(path, tensor, kind, parts, expected):
                found[path] = kind
    owners = owners_of(batch, found)
    for path, tensor in tensors:
        if path not in found and (path.rpartition(".")[2] in _EDGES or _stays_within(tensor, owners)):
            found[path] = "edge"
    return found


def number(batch: Any, found: Joins) -> int | None:
    """Return the number of samples; None if only edges show that it is not a batch of rows."""
    parts = dict(tree.nodes(batch))
    for path, kind in found.items():
        if kind != "edge" and path in parts:
            return int(parts[path].batch_size) if kind == "graph" else _samples(parts[path], kind)
    return None


def owners_of(batch: Any, found: Joins) -> torch.Tensor:
    """Return the sample of each joined row; empty if no part of the batch has it."""
    parts = dict(tree.tensors(batch))
    known = (owners for path, kind in found.items() if path in parts and kind in _OWNERS
             for owners in [_OWNERS[kind](parts[path])] if owners is not None)  # fmt: skip
    return next(known, torch.zeros(0, dtype=torch.long))


def _is_batched_graph(node: Any) -> bool:
    """Return True for several graphs as DGL joins them."""
    return callable(getattr(type(node), "batch_num_nodes", None)) and isinstance(getattr(node, "batch_size", None), int)


def _by_owner(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the tensor if it holds sample numbers that count up from 0 one by one; else None."""
    steps = tensor.diff()
    return tensor if bool((tensor[:1] == 0).all()) and bool(((steps == 0) | (steps == 1)).all()) else None


def _by_start(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the sample of each row, given the row where each sample begins, and where the last one ends."""
    return _by_size(tensor.diff()) if len(tensor) > 1 and tensor[0] == 0 else None


def _by_size(tensor: torch.Tensor) -> torch.Tensor | None:
    if bool((tensor < 0).any()) or int(tensor.sum()) > _MOST_ROWS:
        return None
    return torch.arange(len(tensor), device=tensor.device).repeat_interleave(tensor)


# Starts first: they also count samples without rows.
_OWNERS: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "start": _by_start,
    "owner": _by_owner,
    "size": _by_size,
}
_MOST_ROWS = 10**7


def _samples(tensor: torch.Tensor, kind: str) -> int:
    if kind == "owner":
        return int(tensor[-1]) + 1 if len(tensor) else 0
    return len(tensor) - (kind == "start")


def _tells_apart(
    path: tree.Path, tensor: torch.Tensor, kind: str, parts: Mapping[tree.Path, torch.Tensor], expected: int | None
) -> bool:
    """Return True if the part assigns rows of other parts to samples, rather than describing each sample."""
    if not _is_whole(tensor) or tensor.ndim != 1 or not len(tensor):
        return False
    owners = _OWNERS[kind](tensor)
    count = _samples(tensor, kind)
    if owners is None or not count < len(owners) or len(owners) == expected:
        return False
    # If each sample has as many positions as there are rows in total, the rows are time steps and the match is a
    # coincidence.
    places = ((count, len(owners)), (len(owners), count))
    if kind != "owner" and any(part.shape[:2] in places for part in parts.values()):
        return False
    matches = any(other != path and len(part) == len(owners) for other, part in parts.items())
    if not matches or (count > 1 and _NAMES[kind] & set(words(path))):
        return matches
    # If a batch has only such rows, they lie side by side: several views of each sample, numbered to distinguish them.
    apart = kind != "owner" or any(
        len(part) == count or _stays_within(part, owners) for other, part in parts.items() if other != path
    )
    return count == expected and apart


def _stays_within(tensor: torch.Tensor, owners: torch.Tensor) -> bool:
    """Return True for pairs of rows, each within one sample: edges."""
    if not len(owners) or tensor.layout is not torch.strided or not _is_whole(tensor) or tensor.ndim != 2:
        return False
    pairs = tensor if len(tensor) == 2 else tensor.t() if tensor.shape[1] == 2 else None
    if pairs is None or not pairs.numel() or int(pairs.min()) < 0 or int(pairs.max()) >= len(owners):
        return False
    one, other = owners[pairs[0]], owners[pairs[1]]
    # Small numbers are rows of the first sample, whatever they mean.
    several = bool((one != one[0]).any()) or int(owners[-1]) == 0
    return several and torch.equal(one, other)


def _is_whole(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != torch.bool

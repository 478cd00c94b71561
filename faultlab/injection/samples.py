"""The samples of a batch: the parts that hold them, their number, and batches of some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy
import torch

from faultlab.core.asking import has
from faultlab.injection import tree

Axes = Mapping[tree.Path, int]


def axes(batch: Any, inputs: Iterable[str], labels: Iterable[str], expected: int | None) -> dict[tree.Path, int]:
    """Return the sample dimension of each part that holds something of every sample.

    Parts are tensors, arrays, and lists with one item per sample. ``expected`` is the batch size according to the
    loader, None if it does not batch. The result is empty if no part of the inputs has a sample dimension.
    """
    parts = dict(_parts(batch))
    shapes = {path: shape for path, part in parts.items() if (shape := _shape(part))}
    first = next((shapes[path] for path in inputs if path in shapes), ())
    wanted = next((shapes[path] for path in labels if path in shapes), ())
    held = any(expected in shape[:2] for shape in shapes.values())
    number = expected if held and expected is not None else None
    if number is None:
        # Time may come first in the inputs, but never in the labels of whole samples.
        number = wanted[0] if wanted and wanted[0] in first[:2] else first[0] if first else None
    found = {path: shape.index(number) for path, shape in shapes.items() if number in shape[:2]}
    lists = [path for path, part in parts.items() if path in found and not _is_array(part)]
    # The items of a list with one item per sample are whole; in a list of views of all samples, each view has its own
    # dimension.
    views = {path for path in lists if _all_rows(path, found, shapes, parts)}
    whole = [path for path in lists if path not in views]
    found = {path: axis for path, axis in found.items() if path not in views and not _beneath(path, whole)}
    return found if any(path in found or _beneath(path, whole) for path in inputs) else {}


def count(batch: Any, along: Axes) -> int:
    """Return how many samples the batch holds."""
    parts = dict(_parts(batch))
    return next((_shape(parts[path])[axis] for path, axis in along.items() if path in parts), 0)


def take(batch: Any, index: torch.Tensor, along: Axes) -> Any:
    """Return a batch of these samples only."""
    places = index.tolist()

    def taken(part: Any, axis: int) -> Any:
        if isinstance(part, torch.Tensor):
            return part.index_select(axis, index.to(part.device))
        return part.take(places, axis) if _is_array(part) else _like(part, [part[place] for place in places])

    return tree.replace(batch, {path: taken(part, along[path]) for path, part in _found(batch, along)})


def merged(batch: Any, along: Axes) -> Any:
    """Return the batch with all samples joined into one; parts that can't be joined keep their first sample."""

    def joined(part: Any, axis: int) -> Any:
        if not isinstance(part, torch.Tensor):
            return part.take([0], axis) if _is_array(part) else _like(part, list(part[:1]))
        rows = part.movedim(axis, 0)
        rows = rows[:1] if rows.ndim == 1 else rows.flatten(0, 1).unsqueeze(0)
        return rows.movedim(0, axis)

    return tree.replace(batch, {path: joined(part, along[path]) for path, part in _found(batch, along)})


def _found(batch: Any, along: Axes) -> list[tuple[tree.Path, Any]]:
    return [(path, part) for path, part in _parts(batch) if path in along]


def _parts(batch: Any) -> list[tuple[tree.Path, Any]]:
    return [(path, part) for path, part in tree.nodes(batch) if _holds_samples(part)]


def _holds_samples(part: Any) -> bool:
    if isinstance(part, torch.Tensor):
        # Sparse ones can't be indexed the same way.
        return part.layout is torch.strided and not part.is_nested
    return _is_array(part) or (isinstance(part, (list, tuple)) and not has(part, "_fields"))


def _is_array(part: Any) -> bool:
    return isinstance(part, (torch.Tensor, numpy.ndarray))


def _shape(part: Any) -> tuple[int, ...]:
    if _is_array(part):
        return tuple(part.shape)
    return (len(part),) if isinstance(part, (list, tuple)) else ()


def _all_rows(node: tree.Path, found: Axes, shapes: Mapping[tree.Path, Any], parts: Mapping[tree.Path, Any]) -> bool:
    """Return True if every array below the node has a row for each sample."""
    arrays = [path for path in shapes if _beneath(path, [node]) and _is_array(parts[path])]
    return bool(arrays) and all(found.get(path) == 0 for path in arrays)


def _beneath(path: tree.Path, nodes: Iterable[tree.Path]) -> bool:
    return any(path.startswith(f"{node}.") if node else path for node in nodes)


def _like(part: Any, items: list[Any]) -> Any:
    return tuple(items) if isinstance(part, tuple) else items

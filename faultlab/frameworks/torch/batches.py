"""Batches as an injector that changes one role of them sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Batch
from faultlab.injection import tree

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


def mapped_batch(point: Batch, batch: Any, armed: Armed) -> Any:
    """Return a batch in which the fault has changed the leaves that play its role."""
    if not point.role:
        return armed.map(batch)
    shared, changed = armed.ctx.memory, {}
    mapped: dict[int, Any] = {}
    wanted = point.paths(armed.profile)
    leaves = [(path, leaf) for path, leaf in tree.tensors(batch) if path in wanted and _fits(point, leaf)]
    for path, leaf in leaves:
        if id(leaf) not in mapped:
            # A memory of its own for each leaf: what one remembers is of another's shape and meaning.
            armed.ctx.memory = shared.setdefault(path, {})
            mapped[id(leaf)] = armed.map(leaf)
        # One tensor under two names, as targets are in forecasting, is broken alike under both.
        changed[path] = mapped[id(leaf)]
    armed.ctx.memory = shared
    with armed.putting_in():
        return tree.replace(batch, changed)


def _fits(point: Batch, leaf: torch.Tensor) -> bool:
    if leaf.is_complex() or leaf.is_nested or leaf.layout is not torch.strided:
        return False
    return point.wanted == "any" or leaf.is_floating_point() == (point.wanted == "floating")

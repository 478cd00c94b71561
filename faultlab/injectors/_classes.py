"""The labels of a batch as classes: whole numbers, or the 0 and 1 that binary cross-entropy takes as floats."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.core.part_facts import Leaf, is_binary_column
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injectors._samples import rows, size


def bounds(kind: str, ctx: Context) -> tuple[float, float]:
    """Return the range that all varying labels of this kind share in the clean run, without ignored ones (-100)."""
    leaves = [leaf for _, leaf in _known(ctx) if leaf.kind == kind]
    known = [(leaf.low, leaf.high) for leaf in leaves if leaf.low is not None and leaf.high is not None]
    varied = [(0.0 if low == -100 else low, high) for low, high in known if low < high]
    return (max(low for low, _ in varied), min(high for _, high in varied)) if varied else (0.0, 1.0)


def range_of(labels: torch.Tensor, ctx: Context) -> tuple[float, float]:
    """Return the range of the classes that these labels are of."""
    return (0.0, 1.0) if labels.is_floating_point() else bounds("integer", ctx)


def numbered(labels: torch.Tensor, ctx: Context) -> bool:
    """Return whether labels are classes: whole numbers or, without these, a column of floats that are 0 or 1."""
    if not labels.is_floating_point():
        return True
    column = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
    whole = any(leaf.kind == "integer" for _, leaf in _known(ctx))
    return column and not whole and bool(((labels == 0) | (labels == 1)).all())


def class_paths(ctx: Context) -> list[str]:
    """Return the paths of the labels that are classes: whole numbers or, without these, columns of binary floats."""
    whole = [path for path, leaf in _known(ctx) if leaf.kind == "integer"]
    return whole or [path for path, leaf in _known(ctx) if is_binary_column(leaf, ctx.profile.batch_size)]


def _known(ctx: Context) -> list[tuple[str, Leaf]]:
    return [(path, leaf) for path in ctx.profile.labels if (leaf := ctx.profile.leaves.get(path)) is not None]


def refill(batch: Any, unwanted: Any, ctx: Context) -> Any:
    """Return the batch with every sample of an unwanted class replaced by one of the others, drawn at random.

    ``unwanted`` receives the classes of the batch, one per sample, and returns which of them are.
    """
    classes = class_paths(ctx)
    for path, leaf in tree.tensors(batch):
        if path in classes and leaf.ndim and leaf.numel() == len(leaf) == size(batch, ctx):
            out = unwanted(leaf.flatten().cpu())
            wanted = (~out).nonzero().flatten()
            index = torch.arange(len(out))
            if len(wanted):
                index[out] = wanted[torch.randint(len(wanted), (int(out.sum()),), generator=ctx.generator)]
            return rows(batch, index, ctx)
    return batch

"""In the victim: whether the inputs of a training are related to its targets, and how large they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from faultlab.doctor.guesses import constant

_MOST, _OFFSETS = 512, (0, 1, -1, 2, -2)


def of_pairs(pairs: Sequence[tuple[Any, Any, str]]) -> dict[str, Any]:
    """Return facts about inputs and targets.

    ``mean`` and ``deviation`` of the inputs, ``constant`` if all samples are the same, ``kind`` of the targets,
    ``guess`` (the loss of the best constant prediction; None if unknown), ``related`` and ``chance`` (how often the
    nearest other sample has the same class, and how often a random one has), and ``samples``.
    """
    import torch

    pairs = [one for one in pairs if one[0].shape[1:] == pairs[0][0].shape[1:] and one[2] == pairs[0][2]]
    pairs = [one for one in pairs if one[1].shape[1:] == pairs[0][1].shape[1:]]
    if not pairs:
        return {}
    x, y, kind = torch.cat([one[0] for one in pairs]), torch.cat([one[1] for one in pairs]), pairs[0][2]
    rows = x.flatten(1).double() if x.dim() > 1 else x.double().unsqueeze(1)
    found: dict[str, Any] = {
        "samples": len(x),
        "kind": kind,
        "floating": x.is_floating_point(),
        "mean": float(rows.mean()),
        "deviation": float(rows.std()) if rows.numel() > 1 else 0.0,
        "constant": len(rows) > 1 and bool((rows == rows[0]).all()),
        "finite": bool(torch.isfinite(rows).all()),
        "guess": constant(y, kind),
    }
    if kind == "classes" and y.dim() == 1 and found["floating"] and found["finite"]:
        found.update(related=_agreement(rows[:_MOST], y[:_MOST]), chance=_chance(y[:_MOST]))
    return found


def of_dataset(dataset: Any) -> dict[str, Any]:
    """Return how the classes of a dataset's samples in order agree with their nearest neighbours', by offset.

    Empty if it has no samples of a tensor and a class number.
    """
    import torch

    rows, labels = [], []
    for index in range(min(_MOST, len(dataset))):
        sample = dataset[index]
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            return {}
        x, y = sample
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.numel() > 20_000:
            return {}
        rows.append(x.flatten().double())
        if not isinstance(y, int) and (not isinstance(y, torch.Tensor) or y.numel() != 1 or y.is_floating_point()):
            return {}
        labels.append(int(y))
    if len(rows) < 100 or len({len(row) for row in rows}) > 1:
        return {}
    y = torch.tensor(labels)
    if len(torch.unique(y)) < 2 or 4 * len(torch.unique(y)) > len(y):
        return {}
    x = torch.stack(rows)
    near = _nearest(x)
    # The class that belongs to a sample is the one at that offset.
    agreement = {str(offset): float((y.roll(-offset)[near] == y.roll(-offset)).double().mean()) for offset in _OFFSETS}
    return {"agreement": agreement, "chance": _chance(y), "samples": len(y)}


def _nearest(rows: Any) -> Any:
    import torch

    distances = torch.cdist(rows, rows)
    distances.fill_diagonal_(math.inf)
    return distances.argmin(1)


def _agreement(rows: Any, labels: Any) -> float:
    return float((labels[_nearest(rows)] == labels).double().mean()) if len(rows) > 1 else 0.0


def _chance(labels: Any) -> float:
    shares = labels.unique(return_counts=True)[1].double() / len(labels)
    return float((shares**2).sum())

"""In the victim: a dataset that moves the values of an input at random, and not those of its target, or the reverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SAMPLES, _READS = 3, 10


def of(dataset: Any) -> str:
    """Return "input" or "target", whichever is moved alone when a sample is read again; empty if neither is.

    A moved tensor has the same values in other places: mirrored, rotated by 90 degrees, rolled. Only pairs of the same
    height and width are compared, with targets that are not the input's own values.
    """
    for index in range(min(_SAMPLES, len(dataset))):
        first = _pair(dataset[index])
        if first is None:
            return ""
        reads = [pair for pair in (_pair(dataset[index]) for _ in range(_READS)) if pair is not None]
        if any(one.shape != other.shape for pair in reads for one, other in zip(pair, first, strict=True)):
            return ""
        for part, name in enumerate(("input", "target")):
            still = all(bool((pair[1 - part] == first[1 - part]).all()) for pair in reads)
            others = [pair[part] for pair in reads if bool((pair[part] != first[part]).any())]
            if still and others and all(_same_values(one, first[part]) for one in others):
                return name
    return ""


def _pair(sample: Any) -> tuple[Any, Any] | None:
    import torch

    parts: Sequence[Any] = list(sample.values()) if isinstance(sample, dict) else sample
    if not isinstance(parts, (list, tuple)) or len(parts) < 2:
        return None
    one, other = (torch.as_tensor(part) for part in parts[:2])
    if one.ndim < 2 or other.ndim < 2 or one.shape[-2:] != other.shape[-2:] or min(one.shape[-2:]) < 2:
        return None
    constant = bool((other == other.flatten()[0]).all())
    return None if constant or (one.shape == other.shape and _same_values(one, other)) else (one.clone(), other.clone())


def _same_values(one: Any, other: Any) -> bool:
    return bool((one.flatten().sort().values == other.flatten().sort().values).all())

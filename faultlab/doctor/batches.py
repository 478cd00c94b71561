"""In the victim: a batch in words, as `a list of 2: a tensor of shape (16, 4), a tensor of shape (16,)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 6


def described(batch: Any, deep: int = 2) -> str:
    """What a batch is, to a depth that can be read."""
    import torch

    if isinstance(batch, torch.Tensor):
        shape = tuple(batch.shape)
        kind = "" if batch.is_floating_point() else f" ({str(batch.dtype).removeprefix('torch.')})"
        return f"a tensor of shape {shape}{kind}"
    if isinstance(batch, Mapping):
        parts = [f"{key}: {described(value, deep - 1)}" for key, value in list(batch.items())[:_SHOWN] if deep]
        return f"a dict of {len(batch)}" + (f" ({', '.join(parts)})" if parts else "")
    if isinstance(batch, (list, tuple)):
        name = "a list" if isinstance(batch, list) else "a tuple"
        parts = [described(value, deep - 1) for value in batch[:_SHOWN]] if deep else []
        return f"{name} of {len(batch)}" + (f" ({', '.join(parts)})" if parts else "")
    return "None" if batch is None else f"{_article(type(batch).__name__)} {type(batch).__name__}"


def parts(batch: Any) -> int | None:
    """Into how many names a batch can be unpacked by its author's intent; None where that is not its kind."""
    import torch

    if isinstance(batch, torch.Tensor):
        return 1
    return len(batch) if isinstance(batch, (list, tuple)) else None


def types(batch: Any, deep: int = 3) -> list[str]:
    """The types of numbers that a batch holds, as ``float32``."""
    import torch

    if isinstance(batch, torch.Tensor):
        return [str(batch.dtype).removeprefix("torch.")]
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return sorted({name for part in list(parts)[:_SHOWN] for name in types(part, deep - 1)}) if deep else []


def keys(batch: Any) -> list[str]:
    """The first keys of a batch that is a dict of names."""
    return [key for key in list(batch)[:_SHOWN] if isinstance(key, str)] if isinstance(batch, Mapping) else []


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"

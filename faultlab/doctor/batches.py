"""In the victim: a batch in words, such as `a list of 2: a tensor of shape (16, 4), a tensor of shape (16,)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 6


def described(batch: Any, deep: int = 2) -> str:
    """Return a description of a batch, cut off at a readable depth."""
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


def kind(batch: Any) -> str:
    """Return whether a batch is a list, tuple or dict; empty for anything else."""
    kinds = {"dict": Mapping, "list": list, "tuple": tuple}
    return next((name for name, cls in kinds.items() if isinstance(batch, cls)), "")


def parts(batch: Any) -> int | None:
    """Return the number of names that a batch unpacks into, or None if it is not made for unpacking."""
    import torch

    if isinstance(batch, torch.Tensor):
        return 1
    return len(batch) if isinstance(batch, (list, tuple)) else None


def types(batch: Any, deep: int = 3) -> list[str]:
    """Return the dtypes of a batch's tensors, such as ``float32``."""
    import torch

    if isinstance(batch, torch.Tensor):
        return [str(batch.dtype).removeprefix("torch.")]
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return sorted({name for part in list(parts)[:_SHOWN] for name in types(part, deep - 1)}) if deep else []


def keys(batch: Any) -> list[str]:
    """Return the first string keys of a batch that is a dict."""
    return [key for key in list(batch)[:_SHOWN] if isinstance(key, str)] if isinstance(batch, Mapping) else []


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"

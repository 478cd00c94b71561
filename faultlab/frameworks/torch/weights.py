"""All parameters and buffers of a module together: their digest, and whether they are finite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.ranks import shards
from faultlab.ranks.shards import local


def digest(module: Any) -> str:
    """Return a hash of every parameter and buffer, bit for bit."""
    return _hash([*module.named_parameters(), *module.named_buffers()])


def states(module: Any) -> dict[str, str]:
    """Return separate hashes of the parameters and of the buffers, which ranks may differ in on purpose.

    There are none of a module whose parameters they still share.
    """
    if shards.kind(module):
        return {}
    return {"parameters": _hash(module.named_parameters()), "buffers": _hash(module.named_buffers())}


def _hash(named: Iterable[tuple[str, Any]]) -> str:
    total = hashlib.sha256()
    for name, distributed in named:
        tensor = local(distributed)
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        if not tensor.is_sparse and tensor.device.type != "meta":
            raw = tensor.detach().cpu().contiguous().reshape(-1)
            # Without copying: a copy of a large model takes longer than its hash.
            total.update(raw.view(torch.uint8).numpy() if raw.numel() else b"")
    return total.hexdigest()


def not_finite(module: Any) -> str:
    """Return the first parameter or buffer that holds NaN or an infinity; empty if none does."""
    for name, distributed in [*module.named_parameters(), *module.named_buffers()]:
        tensor = local(distributed)
        known = tensor.is_floating_point() and not tensor.is_sparse and tensor.device.type != "meta"
        if known and not torch.isfinite(tensor).all():
            return str(name)
    return ""

"""All parameters and buffers of a module as one thing: their digest, and whether all of them are numbers."""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def digest(module: Any) -> str:
    """A hash of every parameter and buffer, to the bit."""
    total = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        if not tensor.is_sparse and tensor.device.type != "meta":
            raw = tensor.detach().cpu().contiguous().reshape(-1)
            # Where it lies: a copy of a large model takes longer than its hash.
            total.update(raw.view(torch.uint8).numpy() if raw.numel() else b"")
    return total.hexdigest()


def not_finite(module: Any) -> str:
    """The first parameter, or buffer, that holds NaN or an infinity; empty where none does."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        known = tensor.is_floating_point() and not tensor.is_sparse and tensor.device.type != "meta"
        if known and not torch.isfinite(tensor).all():
            return str(name)
    return ""

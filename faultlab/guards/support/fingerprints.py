"""Fingerprints of tensors for a comparison of ranks: equal if the bits are, and cheap enough for every step."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import torch

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PRIME = 1_000_003
_WIDTH = 1 << 63


def of_tensors(tensors: Iterable[Any]) -> int:
    """Return the fingerprint of some tensors, in their order, by the sums of their bits as integers."""
    sums = [bits.sum(dtype=torch.int64) for tensor in tensors if (bits := bits_of(tensor)) is not None]
    # One transfer from the device for all of them.
    return _combined(torch.stack(sums).tolist() if sums else [])


def of_states(optimizers: Iterable[Any]) -> int:
    """Return the fingerprint of the tensors that optimizers keep between steps."""
    return of_tensors(tensor for optimizer in optimizers for tensor in _held(optimizer))


def of_rates(optimizers: Iterable[Any]) -> int:
    """Return the fingerprint of the learning rates of all parameter groups."""
    rates = (group.get("lr") for optimizer in optimizers for group in getattr(optimizer, "param_groups", ()))
    numbers = [float(rate) for rate in rates if isinstance(rate, (int, float, torch.Tensor))]
    return _combined(struct.unpack("<q", struct.pack("<d", number))[0] for number in numbers)


def of_names(names: Iterable[str]) -> int:
    """Return the fingerprint of some names, in their order."""
    return int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:8], "big") % _WIDTH


def _combined(numbers: Iterable[int]) -> int:
    total = 0
    for number in numbers:
        total = (total * _PRIME + number) % _WIDTH
    return total


def bits_of(tensor: Any) -> torch.Tensor | None:
    """Return the values of a tensor as integers; None if they can't be read, or if other ranks hold other parts."""
    if not isinstance(tensor, torch.Tensor):
        return None
    if hasattr(tensor, "placements"):
        if not all(one.is_replicate() for one in tensor.placements):
            return None
        tensor = tensor.to_local()  # type: ignore[attr-defined]
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return None
    plain = tensor.detach()
    plain = torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain
    return plain.contiguous().view(_INTEGERS[plain.element_size()])


def _held(optimizer: Any) -> Iterator[Any]:
    state = getattr(optimizer, "state", {})
    for group in getattr(optimizer, "param_groups", ()):
        for parameter in group["params"]:
            own = state.get(parameter, {})
            yield from (own[name] for name in sorted(own, key=str))

"""The padding of token sequences in a batch, and rows whose labels end elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from faultlab.guards.support import batch_view

_FEW = 4


class Padding(NamedTuple):
    """A value that fills up rows of a tensor to one length, and its positions, ``bool[rows, positions]``."""

    token: int
    places: Tensor

    @property
    def lengths(self) -> list[int]:
        """The number of positions of each row that are not padding."""
        return [int(number) for number in (~self.places).sum(1).tolist()]


def find(seen: batch_view.Look, share: float) -> Padding | None:
    """Return the padding of a batch's tokens, None if there is none.

    Args:
        seen: The batch.
        share: The minimum share of padding.
    """
    for tensor in seen.usual.values():
        found = _filling(tensor, share)
        # A negative number is no token, but marks ignored labels.
        if found is not None and found.token >= 0:
            return found
    return None


def _filling(tensor: Tensor, share: float) -> Padding | None:
    if tensor.dtype not in (torch.int64, torch.int32) or tensor.dim() != 2 or min(tensor.shape) < _FEW:
        return None
    for flipped in (False, True):
        tokens = tensor.flip(1) if flipped else tensor
        token = int(tokens[:, -1].mode().values)
        is_token = tokens == token
        places = is_token.flip(1).long().cumprod(1).flip(1).bool()
        lengths = places.sum(1)
        fills = bool((places == is_token).all()) and float(places.float().mean()) >= share
        if fills and _count(lengths) > 1 and int((lengths > 1).sum()) > 1 and _count(tokens) > 2:
            return Padding(token, places.flip(1) if flipped else places)
    return None


def of_other_rows(seen: batch_view.Look, padding: Padding) -> tuple[list[int], list[int]] | None:
    """Return the lengths of inputs and of labels if they are the same in another order, None if they are not.

    Several lengths that agree but for their order leave no doubt that the labels are those of other rows.
    """
    ends = padding.lengths
    for tensor in seen.usual.values():
        if tensor.shape != padding.places.shape:
            continue
        labels = _filling(tensor, 0.0)
        if labels is None or labels.token >= 0:
            continue
        theirs = labels.lengths
        # The first or the last token of every row may have no label.
        apart = max(ends) - max(theirs)
        moved = [end + apart for end in theirs]
        if len(set(ends)) >= _FEW and sorted(moved) == sorted(ends) and moved != ends:
            return ends, theirs
    return None


def _count(values: Tensor) -> int:
    """Return the number of different values."""
    return len(set(values.flatten().tolist()))


def is_known(pl_module: Any, seen: batch_view.Look, padding: Padding) -> bool:
    """Return whether an embedding, a mask or lengths confirm that the token is padding."""
    token, places = padding
    if any(isinstance(part, nn.Embedding) and part.padding_idx == token for part in pl_module.modules()):
        return True
    lengths = (~places).sum(1)
    for tensor in seen.usual.values():
        if tensor.shape == places.shape and not tensor.is_complex():
            mask = tensor != 0
            if bool(((tensor == 0) | (tensor == 1)).all()) and (
                torch.equal(mask, places) or torch.equal(mask, ~places)
            ):
                return True
        if tensor.shape == lengths.shape and torch.equal(tensor.to(lengths.dtype), lengths):
            return True
    return False

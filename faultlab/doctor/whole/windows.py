"""In the victim: windows of one sequence that overlap, some of them learnt from and others evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

_MOST_ROWS, _MOST_VALUES, _SHORTEST = 20_000, 1024, 6
_SHIFTS = 8
_VARIED, _LEAST, _DISTINCT, _NEARLY = 4, 20, 0.8, 0.9

Piece = tuple[int, int, int]
"""The axis of the time, a shift, and the fingerprint of what two windows apart by the shift have in common."""


class Windows:
    """The beginnings and ends of the samples of one model.

    A window without its first values is the next window without its last ones, whatever the sequence holds.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[list[Piece], list[Piece]]] = {}
        self._trained: set[int] = set()
        self._heads: set[Piece] = set()
        self._tails: set[Piece] = set()
        self.length = 0

    def take(self, rows: list[int], batch: torch.Tensor) -> None:
        """Take in a batch of samples with their fingerprints."""
        new = [index for index, row in enumerate(rows) if row not in self._pieces]
        if not new or batch.dim() not in (2, 3) or batch[0].numel() > _MOST_VALUES or len(rows) != len(batch):
            return
        kept = batch.detach()[new].cpu()
        if kept.dtype in (torch.bfloat16, torch.float16):
            kept = kept.float()
        for axis in range(1, batch.dim()):
            length = int(batch.shape[axis])
            if length < _SHORTEST:
                continue
            self.length = self.length if axis > 1 and self.length else length
            for index, ends in zip(new, _ends(kept.transpose(1, axis) if axis > 1 else kept, axis), strict=True):
                if len(self._pieces) < _MOST_ROWS or rows[index] in self._pieces:
                    heads, tails = self._pieces.setdefault(rows[index], ([], []))
                    heads.extend(ends[0])
                    tails.extend(ends[1])

    def learnt(self, rows: Iterable[int]) -> None:
        """Note samples that are learnt from."""
        for row in rows:
            if row in self._pieces and row not in self._trained:
                self._trained.add(row)
                self._heads.update(self._pieces[row][0])
                self._tails.update(self._pieces[row][1])

    def overlapping(self, rows: Iterable[int]) -> dict[str, Any]:
        """Return how many different evaluated samples are a window beside one that is learnt from, and by how far.

        Empty where that may be chance: samples of few values have beginnings in common.
        """
        known = [self._pieces[row] for row in set(rows) - self._trained if row in self._pieces]
        if len(known) < _LEAST:
            return {}
        found: dict[tuple[int, int], int] = {}
        for heads, tails in known:
            beside = {one[:2] for one in heads if one in self._tails} | {one[:2] for one in tails if one in self._heads}
            for one in beside:
                found[one] = found.get(one, 0) + 1
        if not found:
            return {}
        most = max(found.values())
        axis, shift = min(one for one, count in found.items() if count >= _NEARLY * most)
        distinct = sum(one[:2] == (axis, shift) for one in self._heads)
        if distinct < _DISTINCT * len(self._trained):
            return {}
        return {"count": found[axis, shift], "of": len(known), "shift": shift, "length": self.length}


def _ends(batch: torch.Tensor, axis: int) -> Iterator[tuple[list[Piece], list[Piece]]]:
    """Yield the beginnings and the ends of each sample, whose time is the first axis."""
    rows = batch.contiguous().numpy()
    length = rows.shape[1]
    for row in rows:
        data, unit = row.tobytes(), row.nbytes // length
        heads, tails = [], []
        # What has few different values, such as padding or a one-hot row, has the same beginning by chance.
        if len(set(row.reshape(-1).tolist())) > _VARIED:
            for shift in range(1, min(_SHIFTS, length // 3) + 1):
                heads.append((axis, shift, hash(data[: -shift * unit])))
                tails.append((axis, shift, hash(data[shift * unit :])))
        yield heads, tails

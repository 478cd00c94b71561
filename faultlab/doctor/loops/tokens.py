"""In the victim: how many tokens ahead of its input the targets of a language model's loss are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_FARTHEST, _LEAST, _VARIED = 4, 64, 4
_SAME, _OTHER, _IGNORED = 0.98, 0.9, -100


class Ahead:
    """The distances between the tokens that a model is called with and the targets of its losses.

    Attributes:
        found: For each of the first losses whose targets are tokens of the input, the distance ``by`` which they are
            ahead of the outputs that they are compared with, and that of the ``labels`` that the model was given (None
            if it was given none, or others).
        padded: The largest share of a batch's labels that are at positions which its attention mask hides.
        hidden: The shares of the tokens that the attention masks of the first calls hide.
        copied: The shares of the targets that are the input's token at the same position, where some are not.
        given: The shares of the labels that a decoder is given at the same position (``decoder_input_ids``).
    """

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self.padded = 0.0
        self.hidden: list[float] = []
        self.copied: list[float] = []
        self.given: list[float] = []
        self._ids: Any = None
        self._labels: int | None = None

    def called(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Note the arguments of a model."""
        given = [kwargs.get("input_ids"), *args, *kwargs.values()]
        self._ids = next((one for one in given if _are_ids(one)), None)
        labels: Any = kwargs.get("labels")
        same = self._ids is not None and _are_ids(labels) and labels.shape == self._ids.shape
        self._labels = distance(self._ids, labels) if same else None
        read: Any = kwargs.get("decoder_input_ids")
        if _are_numbers(read) and _are_numbers(labels) and read.shape == labels.shape and len(self.given) < 8:
            share = _copied(read, labels, _IGNORED)
            self.given.extend([] if share is None else [share])
        mask: Any = kwargs.get("attention_mask")
        if _are_ids(mask) and len(self.hidden) < 8:
            self.hidden.append(float((mask == 0).double().mean()))
        if same and mask is not None and mask.shape == labels.shape and bool((labels != _IGNORED).any()):
            self.padded = max(self.padded, float((mask == 0)[labels != _IGNORED].double().mean()))

    def compared(self, target: Any, ignored: int) -> None:
        """Note the targets of a cross-entropy, one for each output in the order of the input."""
        ids = self._ids
        if ids is None or len(self.found) >= 8 or target.is_floating_point() or target.numel() % len(ids):
            return
        rows = target.reshape(len(ids), -1)
        # Outputs without a target are cut off at the end; those of classes or patches are not one for each token.
        if ids.shape[1] - _FARTHEST <= rows.shape[1] <= ids.shape[1]:
            by = distance(ids, rows, ignored)
            if by is None and rows.shape == ids.shape and (share := _copied(ids, rows, ignored)) is not None:
                self.copied.append(share)
            if by is not None:
                self.found.append({"by": by, "labels": self._labels})


def distance(ids: Any, targets: Any, ignored: int = -100) -> int | None:
    """Return by how many tokens the targets are ahead of the input, None if they are others or it is ambiguous."""
    shares = {}
    for by in range(_FARTHEST + 1):
        count = min(targets.shape[1], ids.shape[1] - by)
        if count < 1:
            break
        row, token = targets[:, :count], ids[:, by : by + count]
        counted = (row != ignored) & (row >= 0)
        if int(counted.sum()) < _LEAST or len(row[counted].unique()) < _VARIED:
            continue
        shares[by] = float((row == token)[counted].double().mean())
    best = max(shares, key=lambda by: shares[by], default=0)
    others = [share for by, share in shares.items() if by != best]
    return best if shares and shares[best] >= _SAME and max(others, default=0.0) < _OTHER else None


def _copied(ids: Any, targets: Any, ignored: int) -> float | None:
    """Return the share of the targets that are the token at the same position; None if there are few."""
    counted = (targets != ignored) & (targets >= 0)
    if int(counted.sum()) < _LEAST or len(targets[counted].unique()) < _VARIED:
        return None
    return float((targets == ids)[counted].double().mean())


def _are_ids(value: Any) -> bool:
    return _are_numbers(value) and value.shape[1] > _FARTHEST


def _are_numbers(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dim() == 2 and value.dtype in (torch.int64, torch.int32)

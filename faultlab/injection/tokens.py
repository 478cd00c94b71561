"""The tokens of a batch of text, and the labels of tokens: those that are the tokens themselves, and tags of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from faultlab.core.leaf_names import last_word, words
from faultlab.injection import tree

IGNORED = -100
_AGREEMENT = 0.9
_SEGMENTS = {"segment", "segments", "document", "documents", "doc"}
_POSITIONS = {"position", "positions"}


@dataclass(frozen=True)
class Tokens:
    """Labels of the tokens of an input, often those tokens themselves.

    Attributes:
        path: The path of the labels in the batch.
        labels: The labels, of shape ``[samples, tokens]``.
        ids: What the labels would be if all of them were learned.
        ignored: Whether a label is ignored.
        padding: Whether it is ignored because it belongs to padding.
    """

    path: tree.Path
    labels: torch.Tensor
    ids: torch.Tensor
    ignored: torch.Tensor
    padding: torch.Tensor

    @property
    def prompt(self) -> torch.Tensor:
        """Whether a label is ignored although it belongs to text."""
        return self.ignored & ~self.padding


def found(batch: Any, inputs: Collection[str], labels: Iterable[str]) -> Tokens | None:
    """Return the labels that are the tokens of an input, in place or one to its left; None if there are none."""
    parts = {path: part for path, part in tree.tensors(batch) if _sequences(part)}
    for path in labels:
        if path not in parts:
            continue
        own = parts[path]
        for given, shift in ((parts[other], shift) for other in inputs if other in parts for shift in (0, 1)):
            if given.shape == own.shape and _agree(_moved(given, shift), own):
                ids, ignored = _moved(given, shift).to(own.dtype), own == IGNORED
                return Tokens(path, own, ids, ignored, ignored & _padding(batch, inputs, own, shift))
    return None


def tagged(batch: Any, inputs: Collection[str], labels: Iterable[str]) -> Tokens | None:
    """Return labels of tokens or frames that are ignored where the inputs are padded; None if there are none.

    Padding is where a mask hides the input, or else the places after or before a row's labels, if the input has one
    value there. Labels that are not ignored as padding are 0, the usual value of whoever pads without a choice.
    """
    parts = dict(tree.tensors(batch))
    for path in labels:
        if path not in parts or not _sequences(parts[path]):
            continue
        own = parts[path]
        ignored = own.eq(IGNORED)
        for given in (parts[other] for other in inputs if other in parts):
            if given.shape[:2] != own.shape or given.layout is not torch.strided:
                continue
            places = ignored & _padding(batch, inputs, own, 0)
            if not _is_filled(given, places):
                places = ignored & ~(~ignored).cumsum(1).bool()
            if _is_filled(given, places) and len(set(places.sum(1).tolist())) > 1:
                return Tokens(path, own, own.masked_fill(places, 0), ignored, places)
    return None


def masks(batch: Any, inputs: Iterable[str]) -> dict[tree.Path, torch.Tensor]:
    """Return the masks among the inputs that hide something, by path."""
    named = [(path, tree.get(batch, path)) for path in inputs if "mask" in words(path)]
    return {path: part for path, part in named if _hides(part)}


def boundaries(batch: Any, inputs: Iterable[str]) -> dict[tree.Path, torch.Tensor]:
    """Return the inputs that distinguish packed samples, by path: the numbers of their segments, else positions."""
    parts = {path: tree.get(batch, path) for path in inputs}
    several = {path: part for path, part in parts.items() if _sequences(part) and _restarts(path, part)}
    segments = {path: part for path, part in several.items() if _SEGMENTS & set(words(path))}
    return segments or several


def joined(path: tree.Path, part: torch.Tensor) -> torch.Tensor:
    """Return the numbers of segments, or positions, of a row that holds a single sample."""
    if _SEGMENTS & set(words(path)):
        return torch.full_like(part, int(part.max()))
    return torch.arange(part.shape[1], dtype=part.dtype, device=part.device).expand_as(part).clone()


def _sequences(part: Any) -> bool:
    """Return True for whole numbers of shape ``[samples, tokens]``."""
    plain = isinstance(part, torch.Tensor) and part.layout is torch.strided and part.dtype != torch.bool
    return plain and not part.is_floating_point() and not part.is_complex() and part.ndim == 2 and part.shape[1] > 1


def _is_filled(given: torch.Tensor, places: torch.Tensor) -> bool:
    """Return True if an input has one value at some places of its rows, and other values elsewhere."""
    held, rest = given[places], given[~places]
    return bool(held.numel()) and bool((held == held.flatten()[0]).all()) and bool((rest != held.flatten()[0]).any())


def _hides(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.layout is torch.strided and bool((part == 0).any())


def _restarts(path: str, part: torch.Tensor) -> bool:
    """Return True if a row of segments has several, or one of positions starts again."""
    step = part[:, 1:] - part[:, :-1]
    if _SEGMENTS & set(words(path)):
        return bool((step != 0).any())
    return bool(_POSITIONS & set(words(path))) and bool((step < 0).any())


def _moved(given: torch.Tensor, shift: int) -> torch.Tensor:
    """Return the tokens at the labels' places; the last label of a shifted row is in no input, and is ignored."""
    return given if not shift else torch.cat([given[:, 1:], torch.full_like(given[:, :1], IGNORED)], 1)


def _agree(tokens: torch.Tensor, labels: torch.Tensor) -> bool:
    known = (labels != IGNORED) & (tokens != IGNORED)
    # Labels of one value agree with anything constant.
    varied = bool(known.any()) and bool(labels[known].min() != labels[known].max())
    return varied and float((tokens == labels)[known].double().mean()) >= _AGREEMENT


def _padding(batch: Any, inputs: Iterable[str], labels: torch.Tensor, shift: int) -> torch.Tensor:
    """Return where a mask hides tokens; without one, the places after the last label of each row."""
    for path, part in masks(batch, inputs).items():
        if last_word(path) == "mask" and part.shape == labels.shape:
            hidden = part == 0
            return torch.cat([hidden[:, 1:], hidden[:, -1:]], 1) if shift else hidden
    learned = labels != IGNORED
    return ~learned.flip(1).cumsum(1).flip(1).bool()

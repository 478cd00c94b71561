"""Weights of classes that make up for nothing, because they follow the frequencies of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention

CLASS_WEIGHTS = Checks()
_TWICE, _MOST, _LEAST = 2.0, 1000, 32


class Weighted:
    """In the victim: the weights of a loss's classes, and how often each class occurs."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.counts: list[int] = []

    def look(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Take in a call of a torch function."""
        import torch

        if name not in ("cross_entropy", "nll_loss"):
            return
        weight = args[2] if len(args) > 2 else kwargs.get("weight")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(weight, torch.Tensor) or not isinstance(target, torch.Tensor) or len(weight) > _MOST:
            return
        if target.is_floating_point():
            return
        known = target[(target >= 0) & (target < len(weight))].flatten()
        counts = torch.bincount(known, minlength=len(weight)).tolist()
        self.weights = [float(one) for one in weight]
        self.counts = [mine + more for mine, more in zip(self.counts or [0] * len(counts), counts, strict=True)]


@CLASS_WEIGHTS.check("class weights")
def by_frequency(seen: Seen) -> Iterator[Finding]:
    """Find weights that are larger for the more frequent classes."""
    weights, counts = (seen.get("class_weights") or ([], []))[:2]
    if len(weights) != len(counts) or sum(counts) < _LEAST:
        return
    pairs = [(one, other) for one, other in permutations(range(len(counts)), 2) if counts[one] > _TWICE * counts[other]]
    if pairs and all(weights[one] > weights[other] for one, other in pairs):
        most, least = max(range(len(counts)), key=counts.__getitem__), min(range(len(counts)), key=counts.__getitem__)
        yield attention(
            "the class weights of the loss grow with the frequency of the classes, so that the rare ones count even "
            f"less: class {most} has weight {weights[most]:.3g} and {counts[most]} of the first {sum(counts)} labels, "
            f"class {least} has {weights[least]:.3g} and {counts[least]}",
            "the labels that the loss got",
            "Weight classes by the inverse of their frequency, such as counts.sum() / (len(counts) * counts).",
        )

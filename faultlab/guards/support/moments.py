"""Means and standard deviations of features, accumulated batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Moments:
    """Sums over samples, one column for each feature, in two halves that show how reliable the means are."""

    def __init__(self) -> None:
        self.samples = 0
        self.low, self.high = math.inf, -math.inf
        self._half: list[Any] = [0.0, 0.0]
        self._count = [0, 0]
        self._squares: Any = 0.0
        self._fourth: Any = 0.0
        self._known: dict[str, Tensor] = {}

    def add(self, rows: Tensor, half: int, low: float, high: float, fourth: bool = False) -> None:
        self._known = {}
        total = rows.sum(0)
        self._half[half] = self._half[half] + total
        self._count[half] += len(rows)
        squares = rows * rows
        self._squares = self._squares + squares.sum(0)
        if fourth:
            self._fourth = self._fourth + torch.stack([rows.pow(3).sum(0), squares.pow(2).sum(0)])
        self.samples += len(rows)
        self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def mean(self) -> Tensor:
        return self._once("mean", lambda: (self._half[0] + self._half[1]) / self.samples)

    @property
    def spread(self) -> Tensor:
        return self._once("spread", lambda: (self._squares / self.samples - self.mean**2).clamp_min(0).sqrt())

    @property
    def kurtosis(self) -> Tensor:
        """The kurtosis of each feature, high if it is nearly always the same."""
        return self._once("kurtosis", self._kurtosis)

    def _kurtosis(self) -> Tensor:
        mean, (cubes, fourths) = self.mean, self._fourth / self.samples
        squares: Tensor = self._squares / self.samples
        moment: Tensor = fourths - 4 * mean * cubes + 6 * mean**2 * squares - 3 * mean**4
        return moment / (squares - mean**2).clamp_min(1e-12) ** 2

    def _once(self, name: str, work_out: Callable[[], Tensor]) -> Tensor:
        """Return a value that is computed once until another batch is added."""
        if name not in self._known:
            self._known[name] = work_out()
        return self._known[name]

    def reliability(self) -> float:
        """Return the correlation of the two halves' means over the features."""
        if not all(self._count):
            return 0.0
        return correlation(*(half / max(1, count) for half, count in zip(self._half, self._count)))


def correlation(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / (one.norm() * other.norm()).clamp_min(1e-12))

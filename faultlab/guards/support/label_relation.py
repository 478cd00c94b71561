"""The linear relation of labels and features, and its significance."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

FOLDS = 4
CLASSES = 64
_KEPT = 16


class Relation:
    """The covariances of features and labels, in four folds of the samples, which give an estimate of their noise."""

    def __init__(self) -> None:
        self.samples = 0
        self.coded = False
        self.kept: list[tuple[Tensor, Tensor]] = []
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._sums: list[Any] = [0.0, 0.0, 0.0, 0.0, 0.0]
        self._correlated: tuple[int, Tensor] | None = None

    def add(self, rows: Tensor, labels: Tensor) -> None:
        # Copies, since a few columns would keep the whole batch alive. They are summed together, which is faster.
        self._pending.append((rows.clone(), labels.clone()))
        self.samples += len(rows) // FOLDS * FOLDS
        self.coded = not labels.is_floating_point()
        if len(self._pending) >= _KEPT:
            self._sum_up()

    def _sum_up(self) -> None:
        for size in {len(rows) for rows, _ in self._pending}:
            alike = [pair for pair in self._pending if len(pair[0]) == size]
            count = size // FOLDS * FOLDS
            rows, labels = (torch.cat([pair[part][:count] for pair in alike]) for part in (0, 1))
            self._include(rows.nan_to_num().float(), _targets(labels))
        self.kept += self._pending[: _KEPT - len(self.kept)]
        self._pending = []

    def sorted(self) -> Relation:
        """Return the relation for the sorted values of each sample, of the first batches."""
        other = Relation()
        for rows, labels in self.kept:
            other.add(rows.sort(dim=1).values, labels)
        return other

    def _include(self, rows: Tensor, labels: Tensor) -> None:
        size = len(rows) // FOLDS
        if not size:
            return
        x = rows[: size * FOLDS].view(size, FOLDS, -1).transpose(0, 1)
        y = labels[: size * FOLDS].view(size, FOLDS, -1).transpose(0, 1)
        new = (torch.bmm(x.transpose(1, 2), y), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1))
        self._sums = [old + part for old, part in zip(self._sums, new)]

    def correlations(self) -> Tensor:
        """Return the correlation of each feature with each label, from -1 to 1, one row for each fold."""
        self._sum_up()
        if self._correlated is not None and self._correlated[0] == self.samples:
            return self._correlated[1]
        each = self.samples / FOLDS
        products, x, y, xx, yy = self._sums
        mean_x, mean_y = x.sum(0) / self.samples, y.sum(0) / self.samples
        # About the overall means: if classes are sorted, a fold may have only one.
        covariance = products / each - mean_x[:, None] * (y[:, None, :] / each)
        covariance = covariance - (x[:, :, None] / each) * mean_y[None, None, :] + mean_x[:, None] * mean_y
        x, y = mean_x, mean_y
        spread_x = (xx.sum(0) / self.samples - x * x).clamp_min(0).sqrt()
        spread_y = (yy.sum(0) / self.samples - y * y).clamp_min(0).sqrt()
        spread_x = spread_x.clamp_min(0.05 * float(spread_x.square().mean().sqrt()) + 1e-12)
        found: Tensor = covariance / spread_x[None, :, None] / spread_y.clamp_min(1e-6)[None, None, :]
        self._correlated = self.samples, found
        return found

    def common(self) -> Tensor:
        """Return a mask of the common labels, since the relation of a rare class depends on a handful of samples."""
        self._sum_up()
        counts: Tensor = self._sums[2].sum(0)
        return counts >= 3 * FOLDS if self.coded else torch.ones_like(counts, dtype=torch.bool)


def compared(one: Relation, other: Relation) -> tuple[Tensor, Tensor]:
    """Return the correlations of both, one row for each fold, for the labels that are common in both."""
    common = one.common() & other.common()
    return one.correlations()[:, :, common].flatten(1), other.correlations()[:, :, common].flatten(1)


def signal(folds: Tensor, samples: int, above_chance: float = 5.0) -> tuple[bool, float]:
    """Return whether the folds clearly agree, and the squared length of what they agree in."""
    gram = folds @ folds.T
    each = (gram.sum(1) - gram.diagonal()) / (FOLDS - 1)
    agreed, whole = float(each.mean()), float(folds.mean(0).square().sum())
    active = max(1, int((folds != 0).any(0).sum()))
    # For unrelated data the squared correlation of n samples is 1/n on average and seldom five times that.
    chance = above_chance * active / max(1, samples)
    return agreed > max(chance, 0.65 * whole) and float(each.min()) > 0.4 * agreed, agreed


def regression(folds: Tensor, onto: Tensor, length: float) -> tuple[float, float]:
    """Return the share of a relation that another relation's folds contain, 1 if both are the same, and its error."""
    parts = folds @ onto / length
    return float(parts.mean()), float(parts.std()) / math.sqrt(FOLDS)


def _targets(labels: Tensor) -> Tensor:
    """Return labels as one row of numbers for each sample: an indicator for each class, or the values themselves."""
    if labels.is_floating_point():
        return labels.nan_to_num().float()
    classes = torch.arange(CLASSES, device=labels.device)
    # With more classes some share a column, which preserves a relation.
    return (labels.remainder(CLASSES) == classes).float()

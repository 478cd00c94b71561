"""The guard that checks that labels are valid, vary, and are as frequent in training as in validation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.trainer_state import number
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.train_validation_alike import covers

IGNORED = -100
_EVERY = 8
"""Batches without a label from the beginning that stand for all of them."""


class Labels(Guard):
    """A guard against labels that are constant, ignored, out of range, sorted, or unlike those of validation.

    Class frequencies of training and validation are compared only if the loader samples sequentially or at random
    without replacement, there are at least three classes, and validation has run in full or nearly so: anomaly
    detection trains on one class of two on purpose. If most classes of validation never occur in training, as in metric
    learning, that counts as intended. The guard ignores batches that don't show which part the labels are.

    Args:
        classes: The number of classes. None to compare labels only with those seen so far.
        imbalance: The allowed difference of class frequencies, as a share of samples.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "out-of-range": "a label is not a valid class",
        "ignored": "all labels of a batch are ignored and its loss is not finite, or those of every batch are",
        "constant": "all labels of a batch are the same, though they vary in validation",
        "class-missing": "a class of the validation data never occurs in training",
        "imbalanced": "classes are less balanced in training than in validation",
        "shifted": "training targets have another location or spread than validation targets",
    }
    causes = {
        "out-of-range": "label, out of range, classes",
        "ignored": "label, ignored, -100, nan, loss, mean, skip",
        "constant": "label, constant, single class, vary, shuffled, sorted, epoch",
        "class-missing": "class, missing, never seen, filtered, training, validation",
        "imbalanced": "balanced, rare, classes, loss, training, validation",
        "shifted": "label, targets, shifted, scaled, half, training, validation",
    }

    def __init__(
        self,
        classes: int | None = None,
        imbalance: float = 0.25,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.classes = classes
        self.imbalance = imbalance
        self._reset()

    def _reset(self) -> None:
        self._validation: Counter[Any] = Counter()
        self._training: Counter[Any] = Counter()
        self._kind: str | None = None
        self._highest = -math.inf
        self._complete = self._enough = self._plain = self._random = False
        self._looked = 0
        self._ignored: int | None = None
        self._supervised = False
        self._without = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        loader = trainer.train_dataloader
        sampler = loader.sampler if isinstance(loader, DataLoader) else None
        self._random = type(sampler) is RandomSampler
        self._plain = self._random or type(sampler) is SequentialSampler

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch is None or dataloader_idx or batch_idx >= 200 or self._complete or not trainer.is_fitting:
            return
        if batch_idx == 0 and not trainer.sanity_checking:
            self._validation = Counter()
        seen = batch_view.look(batch)
        if (labels := seen.labels) is not None and self._is_of_kind(labels):
            self._take(seen, labels, self._validation)

    def _is_of_kind(self, labels: Tensor) -> bool:
        """Return whether labels have the form of the first batch: one class or number per sample, or a sequence."""
        kind = "float" if labels.is_floating_point() else "class"
        kind += "" if labels.numel() == len(labels) else "es"
        self._kind = self._kind or kind
        return kind == self._kind

    def _take(self, seen: batch_view.Look, labels: Tensor, counts: Counter[Any]) -> None:
        counts.update(seen.label_keys)
        if seen.label_path is not None and not labels.is_floating_point():
            self._highest = max(self._highest, seen.bounds(seen.label_path)[1])

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        batch_view.forget()
        if not trainer.is_fitting:
            return
        self._complete = self._complete or not trainer.sanity_checking
        if trainer.sanity_checking:
            # Enough of it for comparisons before the first validation, which then counts again from the start.
            self._enough = covers(trainer)
        elif self._looked:
            self._compare(trainer.current_epoch, ended=True)

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._ignored = None
        if not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        labels, path = seen.labels, seen.label_path
        if labels is None or path is None or not self._is_of_kind(labels):
            return
        if not labels.is_floating_point():
            self._range(seen, path, labels, batch_idx)
        if len(labels) >= 4:
            self._constant(seen, labels, batch_idx)
        if self._looked < 256:
            self._take(seen, labels, self._training)
            self._looked += 1
            if self._looked & (self._looked - 1) == 0:
                self._compare(trainer.current_epoch, ended=False)

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        # A loss that leaves out such batches, or has other terms, is finite.
        if self._ignored is None or (value := number(loss)) is None or math.isfinite(value):
            return
        self.alarm(
            "ignored",
            f"all labels of {self.batch_name(self._ignored)} are {IGNORED}, which losses ignore: its loss is the mean "
            f"of nothing, {value}",
            "Drop such samples in the dataset, or skip the batch explicitly.",
        )

    on_train_batch_end = batch_view.forgetting

    def _range(self, seen: batch_view.Look, path: str, labels: Tensor, batch_idx: int) -> None:
        low, high = seen.bounds(path)
        if low != high or low != IGNORED:
            self._supervised = True
        else:
            self._ignored = batch_idx
            self._without += 1
            if not self._supervised and self._without == _EVERY:
                self.alarm(
                    "ignored",
                    f"all labels of the first {_EVERY} batches are {IGNORED}, which losses ignore",
                    "Look at the mask of the labels: nothing is learned from any of them.",
                )
        limit = self.classes
        if limit is None and high > self._highest and self._are_classes() and (self._looked >= 8 or self._validation):
            # Rare classes may occur late, so only a number that can't be a class is out of range.
            limit = int(1000 * (self._highest + 1))
        if limit is not None and (high >= limit or (self.classes and low < 0 and low not in (IGNORED, -1.0))):
            self.alarm(
                "out-of-range",
                f"the labels of {self.batch_name(batch_idx)} range from {low:.0f} to {high:.0f}, which is out of "
                "range: "
                + (f"there are {limit} classes" if self.classes else f"the highest so far was {self._highest:.0f}"),
                "Number the classes from 0, and check that every label is one of them.",
            )

    def _are_classes(self) -> bool:
        """Return whether the numbers seen so far have few gaps, as classes do and counts do not."""
        distinct = len(self._validation.keys() | self._training.keys())
        return self._highest > 0 and (self._kind == "classes" or self._highest < 4 * distinct)

    def _constant(self, seen: batch_view.Look, labels: Tensor, batch_idx: int) -> None:
        keys = seen.label_keys
        if keys[0] != keys[-1] or len(set(keys)) > 1 or keys[0] == IGNORED:
            return
        usual, where = (self._validation, "validation") if self._validation else (self._training, "earlier batches")
        total, count = sum(usual.values()), len(keys)
        share = (usual[keys[0]] + 3) / (total + 3)
        # A frequent label, or the normal one of two, may well fill a batch.
        if total < 32 or len(usual) < 3 or count * math.log(min(1.0, share)) > -25:
            return
        what = f"are labeled {keys[0]:.0f}, a single class" if self._kind == "class" else "have identical labels"
        self.alarm(
            "constant",
            f"all {count} samples of {self.batch_name(batch_idx)} {what}, though labels vary in {where}: they are "
            "constant, or the data are sorted and not shuffled",
            "Count the classes of an epoch, and set shuffle=True if the data are sorted.",
        )

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._compare(trainer.current_epoch, ended=True)

    def _compare(self, epoch: int, ended: bool) -> None:
        if not (self._complete or self._enough) or not self._plain or not (self._random or ended):
            return
        if self._kind == "float":
            self._targets()
            return
        there, here = sum(self._validation.values()), sum(self._training.values())
        if self._kind != "class" or len(self._validation) < 3 or there < 32 or here < 32 or not self._are_classes():
            return
        # Counts, ranks and the like have nearly as many values as there are samples.
        if 4 * len(self._validation) > there:
            return
        if sum(label not in self._training for label in self._validation) > len(self._validation) / 2:
            return
        for label, count in self._validation.items():
            least = (count - 3 * math.sqrt(count)) / there
            if not self._training[label] and count >= 12 and here * math.log1p(-min(0.99, least)) < -18:
                self.alarm(
                    "class-missing",
                    f"class {label:.0f} is missing: it is never seen in {here} training samples, but {count} times in "
                    f"{there} validation samples",
                    "Check whether the class was filtered out, and split the data with stratification.",
                )
        shares = {label: (self._training[label] / here, count / there) for label, count in self._validation.items()}
        gap = sum(max(0.0, other - own) for own, other in shares.values())
        # The average gap between two samples of the same distribution.
        noise = sum(0.4 * math.sqrt(other / here + other / there) for _, other in shares.values())
        if gap > self.imbalance + noise and _entropy(self._training) < _entropy(self._validation) - 0.1:
            rare = min(shares, key=lambda label: shares[label][0] - shares[label][1])
            self.alarm(
                "imbalanced",
                f"classes are less balanced in training than in validation: class {rare:.0f} is rare, "
                f"{shares[rare][0]:.1%} of {here} training samples and {shares[rare][1]:.1%} of {there} in validation",
                "Weight the loss or the sampler by class, or split the data with stratification.",
            )

    def _targets(self) -> None:
        here, there = (sorted(counts.elements()) for counts in (self._training, self._validation))
        if min(len(here), len(there)) < 32:
            return
        # Quartiles, since targets may have heavy tails or be mostly zero.
        low, middle, high = _quartiles(here)
        lower, centre, higher = _quartiles(there)
        spread, usual = high - low, higher - lower
        if usual > 0 and (abs(middle - centre) > 2 * max(usual, spread) or not usual / 20 < spread < 20 * usual):
            self.alarm(
                "shifted",
                f"half of the training labels lie between {low:.3g} and {high:.3g}, but half of the validation labels "
                f"between {lower:.3g} and {higher:.3g}: the targets are shifted or scaled differently",
                "Scale the targets of training and validation in the same way.",
            )


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    quarter = len(values) // 4
    return values[quarter], values[2 * quarter], values[3 * quarter]


def _entropy(counts: Counter[Any]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values() if count)

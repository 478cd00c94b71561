"""The labels can be what they should be, vary, and are as frequent in training as in validation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.train_validation_alike import covers

IGNORED = -100


class Labels(Guard):
    """Detects labels that are constant, all ignored, out of range, sorted, or distributed unlike those of validation.

    ``classes`` is the number of classes; where it is not said, classes are only compared with those seen. Class by
    class, training and validation are compared only where a loader draws plainly, there are three classes at least,
    and validation has run in full or nearly so: training on one class of two is how anomalies are learnt. Where most
    classes of validation never come in training, they are others on purpose, as where a metric is learnt.
    ``imbalance`` is the share of samples by which the classes may differ in frequency. It keeps quiet where a batch
    does not say which of its parts the labels are.
    """

    judges = "batches"
    checks = {
        "out-of-range": "a label is no class",
        "ignored": "all labels of a batch are to be ignored",
        "constant": "all labels of a batch are the same though they vary in validation",
        "class-missing": "a class of the validation data never comes in training",
        "imbalanced": "classes are less balanced in training than in validation",
        "shifted": "training targets lie elsewhere, or are spread otherwise, than validation targets",
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
        """Whether they are a class or a number a sample, or classes in sequence, as from the first batch on."""
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
            # Enough of it for what is compared before the first validation, and counted anew then.
            self._enough = covers(trainer)
        elif self._looked:
            self._compare(trainer.current_epoch, ended=True)

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
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

    on_train_batch_end = batch_view.forgetting

    def _range(self, seen: batch_view.Look, path: str, labels: Tensor, batch_idx: int) -> None:
        low, high = seen.bounds(path)
        if low == high == IGNORED:
            self.alarm(
                "ignored",
                f"all labels of batch {batch_idx} are {IGNORED}, which losses ignore: its loss is the mean of nothing, "
                f"NaN",
                "Drop such samples where the data are made, or skip the batch on purpose.",
            )
        limit = self.classes
        if limit is None and high > self._highest and self._are_classes() and (self._looked >= 8 or self._validation):
            # Rare classes may come late: only what can be no number of a class is out of range.
            limit = int(1000 * (self._highest + 1))
        if limit is not None and (high >= limit or (self.classes and low < 0 and low not in (IGNORED, -1.0))):
            self.alarm(
                "out-of-range",
                f"the labels of batch {batch_idx} go from {low:.0f} to {high:.0f} and are out of range: "
                + (f"there are {limit} classes" if self.classes else f"the highest before was {self._highest:.0f}"),
                "Are classes numbered from 0, and is every label one of them?",
            )

    def _are_classes(self) -> bool:
        """Whether the numbers seen so far leave few gaps, as classes do and counts do not."""
        distinct = len(self._validation.keys() | self._training.keys())
        return self._highest > 0 and (self._kind == "classes" or self._highest < 4 * distinct)

    def _constant(self, seen: batch_view.Look, labels: Tensor, batch_idx: int) -> None:
        keys = seen.label_keys
        if keys[0] != keys[-1] or len(set(keys)) > 1 or keys[0] == IGNORED:
            return
        usual, where = (self._validation, "validation") if self._validation else (self._training, "earlier batches")
        total, count = sum(usual.values()), len(keys)
        share = (usual[keys[0]] + 3) / (total + 3)
        # A label that is frequent, or the normal one of two, may well fill a batch.
        if total < 32 or len(usual) < 3 or count * math.log(min(1.0, share)) > -25:
            return
        what = f"are labelled {keys[0]:.0f}, a single class" if self._kind == "class" else "have identical labels"
        self.alarm(
            "constant",
            f"all {count} samples of batch {batch_idx} {what}, while labels vary in {where}: they are constant, or "
            f"the data are sorted and not shuffled",
            "Count the classes of an epoch; set shuffle=True where the data are sorted.",
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
        # Counts, ranks and the like are as many as there are samples.
        if 4 * len(self._validation) > there:
            return
        if sum(label not in self._training for label in self._validation) > len(self._validation) / 2:
            return
        for label, count in self._validation.items():
            least = (count - 3 * math.sqrt(count)) / there
            if not self._training[label] and count >= 12 and here * math.log1p(-min(0.99, least)) < -18:
                self.alarm(
                    "class-missing",
                    f"class {label:.0f} is missing: it is never seen in {here} training samples, and has {count} of "
                    f"{there} validation samples",
                    "Split the data with stratification; was the class filtered out?",
                )
        shares = {label: (self._training[label] / here, count / there) for label, count in self._validation.items()}
        gap = sum(max(0.0, other - own) for own, other in shares.values())
        # What the gap is, on average, between two samples of one distribution.
        noise = sum(0.4 * math.sqrt(other / here + other / there) for _, other in shares.values())
        if gap > self.imbalance + noise and _entropy(self._training) < _entropy(self._validation) - 0.1:
            rare = min(shares, key=lambda label: shares[label][0] - shares[label][1])
            self.alarm(
                "imbalanced",
                f"classes are less balanced in training than in validation: class {rare:.0f} is rare, "
                f"{shares[rare][0]:.1%} of {here} training samples and {shares[rare][1]:.1%} of {there} in validation",
                "Weigh the loss or the sampler by class, or split the data with stratification.",
            )

    def _targets(self) -> None:
        here, there = (sorted(counts.elements()) for counts in (self._training, self._validation))
        if min(len(here), len(there)) < 32:
            return
        # Quartiles, since targets may have heavy tails or be zero as a rule.
        low, middle, high = _quartiles(here)
        lower, centre, higher = _quartiles(there)
        spread, usual = high - low, higher - lower
        if usual > 0 and (abs(middle - centre) > 2 * max(usual, spread) or not usual / 20 < spread < 20 * usual):
            self.alarm(
                "shifted",
                f"half of the training labels lie between {low:.3g} and {high:.3g}, half of the validation labels "
                f"between {lower:.3g} and {higher:.3g}: they are shifted or scaled unlike each other",
                "Are the targets of both scaled alike?",
            )


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    quarter = len(values) // 4
    return values[quarter], values[2 * quarter], values[3 * quarter]


def _entropy(counts: Counter[Any]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values() if count)

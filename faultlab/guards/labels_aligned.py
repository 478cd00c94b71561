"""The guard that checks that labels belong to their inputs, in training as in validation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.label_relation import CLASSES, Relation, compared, regression, signal
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.train_validation_alike import covers

_OFFSETS = (0, 1, -1, 2, -2)


class LabelsAligned(Guard):
    """A guard against labels that are unrelated to their inputs, opposite, or change from epoch to epoch.

    It compares training with validation: the linear relation of features and labels, and for token sequences how often
    a label is the token at a fixed distance. Without such a relation in either it does nothing.

    Labels change if a sample, recognized by its inputs, has another label in a later epoch. Ignored are integers that
    hardly ever repeat, such as drawn time steps, and parts as large as the inputs, such as noisy copies.

    Args:
        weaker: The share of the relation that has to remain in the weaker of the two.
        changed: The share of samples whose labels may change.
        most: Batches of training and of validation to look at.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "unrelated": "labels have no relation to the inputs in training, though they do in validation",
        "opposite": "labels have the opposite relation to the inputs than in validation, or another mapping",
        "validation-unrelated": "labels have no relation to the inputs in validation, though they do in training",
        "offset": "labels are less often the token at a fixed distance in training than in validation, or the reverse",
        "changing": "samples have other labels in a later epoch",
    }
    causes = {
        "unrelated": "labels, shuffled, random, inverted, renumbered, missing, order, same, training, validation",
        "opposite": "labels, opposite, inverted, permuted, renumbered, mapping, classes, negated, sign, feature, "
        "order, same, training, validation",
        "validation-unrelated": "labels, belong, shuffled, missing, validation, training data",
        "offset": "labels, offset, noisy, shuffled, renumbered, permuted, missing, same, training, validation",
        "changing": "labels, noisy, shuffled, random, order, epoch",
    }
    _MOST = 20_000

    def __init__(
        self,
        weaker: float = 0.5,
        changed: float = 0.1,
        most: int = 64,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.weaker = weaker
        self.changed = changed
        self.most = most
        self._reset()

    def _reset(self) -> None:
        self._training, self._validation = Relation(), Relation()
        self._shifts: dict[str, list[Any]] = {"train": [0.0, 0], "validation": [0.0, 0]}
        self._complete = self._passed = False
        self._looked = self._epochs = 0
        self._known: dict[tuple[Any, ...], float | None] = {}
        self._again = self._other = self._drawn = 0
        self._form: tuple[int, int, bool] | None = None
        self._judged: tuple[Any, ...] = ()

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._passed or batch is None or dataloader_idx or batch_idx >= self.most or not trainer.is_fitting:
            return
        if batch_idx == 0 and not trainer.sanity_checking:
            self._validation, self._shifts["validation"] = Relation(), [0.0, 0]
        self._take(batch_view.look(batch), self._validation, "validation")

    def _take(self, seen: batch_view.Look, relation: Relation, stage: str) -> None:
        inputs, labels = seen.inputs, seen.labels
        if inputs is None or labels is None or len(inputs) != len(labels):
            self.skip("which part of a batch has the labels is unknown")
            return
        if not inputs.is_floating_point():
            if not (inputs.shape == labels.shape and inputs.ndim == 2):
                self.skip("the inputs are whole numbers, and the labels not one for each of them")
            if inputs.shape == labels.shape and inputs.ndim == 2 and inputs.shape[1] > 4:
                shares = _shifts(inputs, labels)
                total, count = self._shifts[stage]
                self._shifts[stage] = [total + shares, count + 1]
                self.looked += 1
            return
        rows, width = seen.features, labels.numel() // len(labels)
        if rows is None or inputs.ndim < 2 or not rows.shape[1] or width > (CLASSES if _is_real(labels) else 1):
            return
        # Inputs of varying length have no features that can be compared.
        form = rows.shape[1], width, _is_real(labels)
        self._form = self._form or form
        if self._form == form:
            relation.add(rows, labels.reshape(len(labels), width))
            self.looked += 1

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        batch_view.forget()
        if not trainer.is_fitting:
            return
        if trainer.sanity_checking:
            self._complete = covers(trainer)
            return
        self._complete = True
        if not self._passed and self._looked:
            self._judge()
        self._passed = True

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        if self._epochs <= 2:
            self._labels_again(seen)
        if self._looked >= self.most:
            return
        self._take(seen, self._training, "train")
        self._looked += 1
        if self._looked & (self._looked - 1) == 0:
            self._judge()

    on_train_batch_end = batch_view.forgetting

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if 0 < self._looked < self.most:
            self._judge()

    def _labels_again(self, seen: batch_view.Look) -> None:
        inputs, labels = seen.inputs, seen.labels
        if inputs is None or labels is None or len(inputs) != len(labels) or inputs.numel() < 6 * len(inputs):
            return
        if labels.is_floating_point() and labels.numel() == inputs.numel():
            return
        # Texts are padded to the longest of their batch, and labels with another value than inputs.
        form = tuple(inputs.shape[1:]), tuple(labels.shape[1:])
        pairs = [((key, *form), label) for key, label in zip(seen.input_keys, seen.label_keys)]
        if self._epochs == 1:
            if len(self._known) < self._MOST:
                for sample, label in pairs:
                    # Samples that occur twice in an epoch can't be distinguished.
                    self._known[sample] = None if sample in self._known else label
            return
        self._drawn += len(pairs)
        for sample, label in pairs:
            if (known := self._known.get(sample)) is not None:
                self._again += 1
                self._other += known != label
        single = not labels.is_floating_point() and labels.numel() == len(labels)
        if (
            self._again >= 32
            and (not single or self._recur())
            and self._other > self.changed * self._again + 3 * math.sqrt(self._again) * 0.3
        ):
            self.alarm(
                "changing",
                f"{self._other} of {self._again} samples from the first epoch have other labels now: labels are "
                "noisy, shuffled, or drawn at random",
                "Keep the label of every sample, independent of the order of samples.",
            )

    def _recur(self) -> bool:
        """Return whether labels repeat, as classes do."""
        known = [label for label in self._known.values() if label is not None]
        return 4 * len(set(known)) <= len(known)

    def _judge(self) -> None:
        training, validation = self._training, self._validation
        # An epoch usually ends with its validation, and nothing has changed between the two.
        known, self._judged = self._judged, (self._looked, self._drawn, validation, validation.samples, self._complete)
        if known == self._judged and not self._shifts["train"][1]:
            return
        self._offsets()
        if not self._complete or training.samples < 64 or validation.samples < 32:
            return
        here, there = compared(training, validation)
        if not here.numel():
            return
        clear_there, theirs = signal(there, validation.samples)
        if clear_there and theirs > 0:
            share, error = regression(here, there.mean(0), theirs)
            if share + 2 * error < self.weaker and (share < -0.3 or not self._may_be_augmented()):
                self._unlike(signal(here, training.samples)[0], share, training.samples)
            return
        clear, own = signal(here, training.samples)
        if clear and own > 0 and validation.samples >= 64:
            share, error = regression(there, here.mean(0), own)
            if share + 2 * error < self.weaker:
                self.alarm(
                    "validation-unrelated",
                    f"the relation of labels to inputs in the training data is missing in validation: {share:.0%} "
                    f"remain over {validation.samples} samples, as if these labels were shuffled",
                    "Check that every validation label belongs to its sample.",
                )

    def _may_be_augmented(self) -> bool:
        """Return whether training inputs may be moved, turned or flipped, which removes the relation of each pixel.

        They are not if they recur unchanged in another epoch, or if their sorted values, which such augmentations
        preserve, have no relation to the labels either.
        """
        if self._again >= max(8, 0.4 * self._drawn) or not self._form or self._form[0] < 16:
            return False
        here, there = compared(self._training.sorted(), self._validation.sorted())
        if not here.numel():
            return True
        # Sorted values contain less information, and only confirm a relation that is missing anyway.
        clear, theirs = signal(there, self._validation.samples, above_chance=2.0)
        if not clear or theirs <= 0:
            return True
        share, error = regression(here, there.mean(0), theirs)
        return share + 2 * error >= self.weaker

    def _unlike(self, clear: bool, share: float, samples: int) -> None:
        if clear or share < -0.3:
            self.alarm(
                "opposite",
                f"training inputs have another relation to labels than in validation (by {share:.2f}, where 1 is the "
                f"same and -1 is opposite, over {samples} samples): inverted, permuted or renumbered labels, or "
                "negated inputs",
                "Use the same mapping of classes to labels, and the same order and sign of features, for training "
                "and validation.",
            )
        else:
            self.alarm(
                "unrelated",
                f"the relation of labels to inputs in the validation data is missing in training: {share:.0%} remain "
                f"over {samples} samples, as if labels were shuffled, random, inverted or renumbered",
                "Check that inputs and labels are ordered or drawn by the same index.",
            )

    def _offsets(self) -> None:
        (mine, count), (others, counted) = self._shifts["train"], self._shifts["validation"]
        if not count or not counted:
            return
        mine, others = mine / count, others / counted
        best = int(torch.maximum(mine, others).argmax())
        here, there = float(mine[best]), float(others[best])
        if max(here, there) > 0.9 and min(here, there) < 0.8 * max(here, there):
            where = "training" if here < there else "validation"
            self.alarm(
                "offset",
                f"a label is the token {_OFFSETS[best]:+d} positions from it in {here:.0%} of the cases in training, "
                f"but in {there:.0%} in validation: {where} labels are noisy, shuffled or renumbered, or inputs "
                "permuted or missing",
                "Take labels from the same sequence as their inputs, at the same offset for training and validation.",
            )


def _is_real(labels: Tensor) -> bool:
    return labels.is_floating_point()


def _shifts(inputs: Tensor, labels: Tensor) -> Tensor:
    """Return how often a label is the token at each of the offsets."""
    width = inputs.shape[1]
    shares = []
    for offset in _OFFSETS:
        low, high = max(0, -offset), min(width, width - offset)
        own, others = labels[:, low:high], inputs[:, low + offset : high + offset]
        counted = own >= 0
        shares.append(((own == others) & counted).float().sum() / counted.sum().clamp_min(1))
    return torch.stack(shares).cpu()

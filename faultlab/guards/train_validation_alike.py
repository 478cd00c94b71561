"""The guard that checks that training and validation inputs have the same distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.moments import Moments, correlation
from faultlab.guards.support.training_view import TrainingView


class TrainValidationAlike(Guard):
    """A guard against training inputs that are scaled, shifted, clipped or reordered unlike validation inputs.

    Training and validation are compared after the first validation, or once the sanity check has covered 60 % of it.
    Before that only large differences count. Token ids and small validation sets are not judged. Inputs outside the
    range whose means are those of validation have noise added, by an augmentation unless they are the same in a later
    epoch.

    Args:
        scale: The allowed ratio of the standard deviations, of the median feature.
        shift: The allowed distance of the means in standard deviations, of the median feature.
        outside: The share of values that may lie outside the range of the other split.
        most: Training batches to look at.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "scale": "training inputs have a much larger or smaller spread than validation inputs",
        "shift": "the mean of training inputs differs from that of validation inputs",
        "range": "training inputs lie outside the range of validation inputs",
        "clipped": "validation inputs lie outside the range of training inputs",
        "constant-features": "features that vary in validation are constant in training",
        "feature-order": "features have another order in training than in validation",
    }
    causes = {
        "scale": "scaled, spread, range, normalized, transform, same, training, validation",
        "shift": "shifted, mean, range, normalized, transform, same, training, validation",
        "range": "outside, range, negated, noisy, normalized, training, validation",
        "clipped": "clipped, clamped, range, outside, normalized, training, validation",
        "constant-features": "constant, features, columns, vary, zero, missing, read, samples, training data, "
        "validation",
        "feature-order": "features, order, permuted, columns, mean, same, training, validation",
    }

    def __init__(
        self,
        scale: float = 3.0,
        shift: float = 1.5,
        outside: float = 0.2,
        most: int = 64,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.scale = scale
        self.shift = shift
        self.outside = outside
        self.most = most
        self._reset()

    def _reset(self) -> None:
        self._training, self._validation = Moments(), Moments()
        self._kept: list[Tensor] = []
        self._own: list[Tensor] = []
        self._against = math.inf, -math.inf
        self._complete = self._passed = False
        self._looked = self._values = self._beyond = self._width = 0
        self._judged: tuple[Any, ...] = ()
        self._known: set[float] = set()
        self._epochs = self._drawn = self._again = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._passed or dataloader_idx or batch is None or batch_idx >= self.most or not trainer.is_fitting:
            return
        if batch_idx == 0 and not trainer.sanity_checking:
            # Validation repeats the batches of the sanity check.
            self._validation, self._kept = Moments(), []
        seen = batch_view.look(batch)
        rows, low, high = _rows(seen)
        if rows is None or len(rows) < 2 or not math.isfinite(high - low) or not self._is_as_wide(rows):
            return
        for half in (0, 1):
            self._validation.add(rows[half::2], half, low, high, fourth=True)
        if len(self._kept) < 8:
            self._kept.append(rows[:256].clone())

    def _is_as_wide(self, rows: Tensor) -> bool:
        # With inputs of varying length, features of two batches don't correspond.
        self._width = self._width or rows.shape[1]
        return bool(rows.shape[1] == self._width)

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        batch_view.forget()
        if not trainer.is_fitting:
            return
        if trainer.sanity_checking:
            self._complete = covers(trainer)
            return
        self._complete = True
        if not self._passed and self._training.samples >= 32:
            self._judge(early=False)
        self._passed = True

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._looked >= self.most or not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        rows, low, high = _rows(seen)
        if rows is None or not math.isfinite(high - low) or not self._is_as_wide(rows):
            return
        self._training.add(rows, self._looked % 2, low, high)
        if (self._validation.low, self._validation.high) != self._against:
            # Values outside the range of the first batches may lie within that of all.
            self._against = self._validation.low, self._validation.high
            self._values = self._beyond = 0
        if self._validation.samples and (low < self._validation.low or high > self._validation.high):
            width = 0.1 * (self._validation.high - self._validation.low)
            within = (rows >= self._validation.low - width) & (rows <= self._validation.high + width)
            self._beyond += rows.numel() - int(within.sum())
        if len(self._own) < 8:
            self._own.append(rows[:256].clone())
        self._values += rows.numel()
        self._looked += 1
        if self._beyond or self._epochs <= 1:
            self._recognize(seen.input_keys)
        # At powers of two, since each further batch adds less.
        if self._looked & (self._looked - 1) == 0:
            self._judge(early=not self._complete)

    on_train_batch_end = batch_view.forgetting

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1

    def _recognize(self, keys: list[float]) -> None:
        """Count how many samples recur as they were in the first epoch."""
        if self._epochs <= 1:
            self._known.update(keys)
        else:
            self._drawn += len(keys)
            self._again += sum(key in self._known for key in keys)

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if self._complete and 0 < self._looked < self.most:
            self._judge(early=False)

    def _judge(self, early: bool) -> None:
        training, validation = self._training, self._validation
        # An epoch usually ends with its validation, and nothing has changed between the two.
        known, self._judged = self._judged, (self._looked, validation, validation.samples, early)
        if known == self._judged:
            return
        if training.samples < 8 or validation.samples < 32 or training.mean.shape != validation.mean.shape:
            return
        spread = validation.spread
        typical = float(spread.square().mean().sqrt())
        # Features that are nearly constant show nothing until there are many samples.
        telling = (spread > 0.1 * typical) & (validation.kurtosis < 9)
        count = int(telling.sum())
        if not count or not typical:
            return
        if training.samples >= 32 or count >= 4:
            self._scale(training, telling, spread, 4 if count >= 4 else 12, early)
        if self._values and not early and (validation.low, validation.high) == self._against:
            self._range(training, validation, telling)
        if count >= 8 and training.samples >= 256 and not early:
            self._features(training, validation, telling, typical)

    def _scale(self, training: Moments, telling: Tensor, spread: Tensor, least: int, early: bool) -> None:
        # The spread of few samples, or of the first of sorted samples, is not reliable.
        grossly = (16.0 if early else 1.0) * (1.0 if least == 4 else 3.0)
        grossly *= 1 + 4 / math.sqrt(min(training.samples, self._validation.samples))
        ratio = float((training.spread[telling] / spread[telling]).median())
        if not ratio and least != 4:
            return
        if not ratio:
            still = int((training.spread[telling] == 0).sum())
            self.alarm(
                "constant-features",
                f"{still} of the {int(telling.sum())} features that vary in validation are constant in training",
                "Check whether columns are missing or filled with zero in the training data, or samples are not read "
                "at all.",
            )
        elif not 1 / (self.scale * grossly) < ratio < self.scale * grossly and self._is_no_tail(telling):
            self.alarm(
                "scale",
                f"training inputs have {ratio:.3g} times the spread of validation inputs, and a range of "
                f"{training.low:.3g} to {training.high:.3g}, but validation has {self._between()}",
                "Scale and normalize both by the same transform.",
            )
        moved = (training.mean - self._validation.mean)[telling] / spread[telling]
        shift = float(moved.abs().median())
        if shift > self.shift * grossly:
            self.alarm(
                "shift",
                f"the mean of training inputs is shifted by {shift:.3g} standard deviations from that of validation "
                f"inputs, with a range of {training.low:.3g} to {training.high:.3g}, but validation has "
                f"{self._between()}",
                "Normalize both by the same transform, subtracting the same mean.",
            )

    def _is_no_tail(self, telling: Tensor) -> bool:
        """Return whether the spread also differs without the rare large values of heavy tails."""
        here, there = (torch.cat(kept)[:, telling] for kept in (self._own, self._kept))
        own, other = ((rows - rows.median(0).values).abs().median(0).values for rows in (here, there))
        if not (varied := other > 0).any():
            return True
        ratio = float((own[varied] / other[varied]).median())
        return not 1 / self.scale < ratio < self.scale

    def _between(self) -> str:
        return f"{self._validation.low:.3g} to {self._validation.high:.3g}"

    def _may_be_augmented(self, training: Moments, validation: Moments, telling: Tensor) -> bool:
        """Return whether training inputs are those of validation with random numbers added, and other ones each time.

        Without another epoch that shows it, they may be.
        """
        if self._again >= max(8, 0.25 * self._drawn):
            return False
        moved = (training.mean - validation.mean)[telling] / validation.spread[telling]
        return float(moved.abs().median()) < 0.2 + 2 / math.sqrt(min(training.samples, validation.samples))

    def _range(self, training: Moments, validation: Moments, telling: Tensor) -> None:
        if self._beyond > self.outside * self._values and not self._may_be_augmented(training, validation, telling):
            self.alarm(
                "range",
                f"{self._beyond / self._values:.0%} of the training inputs lie outside the range of the validation "
                f"inputs, {self._between()}: they range from {training.low:.3g} to {training.high:.3g}",
                "Check whether they are negated, noisy, or normalized differently from validation inputs.",
            )
        if training.samples < 32 or (training.low <= validation.low and training.high >= validation.high):
            return
        kept = torch.cat(self._kept)
        width = 0.02 * (training.high - training.low)
        share = float(((kept < training.low - width) | (kept > training.high + width)).float().mean())
        if share > self.outside / 2:
            self.alarm(
                "clipped",
                f"{share:.0%} of the validation inputs lie outside the range of the training inputs, "
                f"{training.low:.3g} to {training.high:.3g}, as if these were clipped: they range from "
                f"{self._between()}",
                "Check whether training inputs are clamped, or normalized differently from validation inputs.",
            )

    def _features(self, training: Moments, validation: Moments, telling: Tensor, typical: float) -> None:
        still = telling & (training.spread <= 1e-6 * typical)
        if (dropped := int(still.sum())) > 0.1 * int(telling.sum()):
            self.alarm(
                "constant-features",
                f"{dropped} of the {int(telling.sum())} features that vary in validation are constant in training "
                f"(feature {', '.join(map(str, still.nonzero().flatten().tolist()[:3]))} and so on)",
                "Check whether columns are missing or filled with zero in the training data.",
            )
        if min(training.reliability(), validation.reliability()) < 0.9:
            return
        own, other = training.mean.sort().values, validation.mean.sort().values
        # Flips, crops and the like make the means of pixels more similar; another order preserves the set of means.
        kept = correlation(own, other) > 0.97 and 0.85 < float(own.std() / other.std()) < 1.18
        if kept and (agreement := correlation(training.mean, validation.mean)) < 0.6:
            self.alarm(
                "feature-order",
                f"the means of {telling.numel()} features correlate by {agreement:.2f} between training and "
                "validation: the features seem to be permuted, or in another order",
                "Select columns by name, in the same order for both.",
            )


def covers(trainer: TrainingView) -> bool:
    """Return whether the sanity check covers 60 % of validation, since sorted data start with one class."""
    checked, there = trainer.num_sanity_val_batches, trainer.num_val_batches
    return checked is not None and there is not None and bool(checked and there) and checked[0] >= 0.6 * there[0]


def _rows(seen: batch_view.Look) -> tuple[Tensor | None, float, float]:
    """Return the inputs as floats, one row for each sample, with the lowest and the highest value."""
    inputs, path = seen.inputs, seen.input_path
    if inputs is None or path is None or not inputs.is_floating_point() or inputs.ndim < 2 or seen.features is None:
        return None, 0.0, 0.0
    low, high = seen.bounds(path)
    return seen.features.float(), low, high

"""The guard that checks that the loss and the metric improve, and become better than guessing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import guessing, memories, pace, trainer_state
from faultlab.guards.support.better_side import better_side
from faultlab.guards.support.optimizer_history import steps_before
from faultlab.guards.support.parameter_samples import optimizers_of
from faultlab.guards.support.training_view import TrainingView

_TELLING = 0.2
"""The share of a loss that a change must have to stand out from the noise; otherwise a look is inconclusive."""


_LATEST = 4096


class LossFalls(Guard):
    """A guard against a training that does not learn: its loss or its metric has not improved.

    It judges at the end of each epoch after ``epochs`` epochs and ``early`` steps, and at the end of the training. The
    loss is the return value of `training_step` under automatic optimization. It has to fall, and must not rise. If its
    graph shows that it is the cross-entropy of integer labels of the batch, it also has to fall below their entropy,
    the loss of guessing by the labels' frequencies, or to be still falling.

    The metric must not stay within half of ``least`` of its value in the sanity check (twice ``least`` if it is
    declared, five times if there is no loss to judge), and must not become worse by ``worse`` unless it was better
    before. If the better side is unknown or contradicts the metric's name, the metric only has to change. A pretrained
    model, whose loss starts well below such an entropy, may stay as it is.

    Not judged are resumed trainings (their optimizers have taken steps before), trainings of fewer than ``steps``
    steps, losses that vary too much from batch to batch, losses that wander around zero or return to it from below, as
    those of policies do, and manual optimization without a declared metric. The loss is not compared with its first
    values if the module keeps what it has seen in a buffer, as contrastive losses keep a queue of negatives. Leave the
    guard out for other losses that are not meant to fall.

    Args:
        metric: The metric that the training is judged by. Empty for the validation loss.
        mode: "min" or "max", whichever is better for the metric. Empty to infer it from the name.
        least: The required fall of the loss, as a share of its first values.
        worse: The deterioration of the loss or the metric that raises an alarm, as a share.
        epochs: Epochs before the first judgment.
        steps: The minimum length of a training to be judged, in steps.
        early: Steps before the first judgment within the training.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "at-chance": "the loss is that of guessing by the frequency of the labels",
        "no-better": "the loss is no better than at the start",
        "rises": "the loss is far above its first values",
        "metric-no-better": "the metric is no better than before the training",
    }
    causes = {
        "at-chance": "did not improve, guessing, frequency, labels, shuffled, constant, random, belong, layer, "
        "gradient, learning rate, loss",
        "no-better": "did not improve, weights change, learning rate, gradients, optimizer, labels, belong, loss",
        "rises": "diverges, too large, learning rate, gradient, loss, label, sign",
        "metric-no-better": "did not improve, weights change, gradients, optimizer, learning rate, training mode, "
        "batchnorm, running statistics, same, validation",
    }

    def __init__(
        self,
        metric: str = "",
        mode: str = "",
        least: float = 0.01,
        worse: float = 0.25,
        epochs: int = 2,
        steps: int = 24,
        early: int = 200,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.metric = metric
        self.mode = mode
        self.least = least
        self.worse = worse
        self.epochs = epochs
        self.steps = steps
        self.early = early
        self._forget()

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        return {"metric": monitor, "mode": mode}

    def _forget(self) -> None:
        self._pending: list[Tensor] = []
        self._losses: list[float] = []
        self._labels: list[list[Tensor]] = []
        self._among: list[Tensor] | None = None
        self._explained: set[int] | None = None
        self._entropies: list[float | None] | None = None
        self._epochs = self._validations = 0
        self._judged = 0, False
        self._resumed = False
        self._learns = True
        self._kept: memories.Kept = {}
        self._name = ""
        self._untrained: float | None = None
        self._latest: float | None = None
        self._been_elsewhere = self._was_better = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._resumed = trainer.global_step > 0 or any(map(steps_before, optimizers_of(trainer)))
        self._learns = trainer_state.learns(pl_module)
        self.dormant = self._resumed or not self._learns
        self._kept = memories.kept(pl_module)

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # While other guards look at the batch too, since they release it at its end.
        looks = self._learns and not self._resumed and len(self._labels) < 16
        self._among = guessing.integers(batch) if looks else None

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        if self._explained is None and self._among is not None:
            self._explained = guessing.explained(loss, self._among)

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._resumed or not self._learns:
            return
        loss = trainer_state.loss_of(outputs)
        if loss is None:
            return
        # Reading a number from a device waits for all of its pending work.
        self._pending.append(loss)
        if len(self._pending) >= 64:
            self._settle()
        if len(self._labels) < 16:
            self._labels.append(guessing.integers(batch) if self._among is None else self._among)
        self._among = None

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        if not self._resumed:
            self._judge(pl_module, last=False)

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._resumed:
            self._judge(pl_module, last=True)
            if self._validations and trainer.global_step >= self.steps:
                self._judge_metric(pl_module, last=True)

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.callback_metrics is None and self.metric:
            self.skip("the loop shows no metrics, so only the loss is judged")
        found = trainer_state.metrics(trainer)
        if trainer.sanity_checking:
            self._name = self.metric or trainer_state.validation_loss(found)
            self._untrained = found.get(self._name)
        elif self._untrained is not None and self._name in found and not self._resumed:
            self._latest = found[self._name]
            self._validations += 1
            # As for the loss: with a small rate, or during warm-up, little is learned in a few short epochs.
            if self._validations >= self.epochs and trainer.global_step >= self.early:
                self._judge_metric(pl_module, last=False)
            self._been_elsewhere |= not self._stayed()
            self._was_better |= (self._gain() or 0.0) > 5 * self.least

    def _settle(self) -> None:
        if self._pending:
            self._losses += torch.stack([loss.reshape(()).float() for loss in self._pending]).tolist()
            self._pending = []

    def _judge(self, pl_module: Any, last: bool) -> None:
        count = len(self._losses) + len(self._pending)
        # In short epochs only after another eighth of the steps, since it goes through all of them.
        if count < self.steps // 2 or (count, last) == self._judged or (not last and 8 * count < 9 * self._judged[0]):
            return
        self._judged = count, last
        self.looked += 1
        self._settle()
        head, tail = self._losses[: max(1, min(5, count // 12))], self._losses[-max(3, count // 8) :]
        began, ends = sum(head) / len(head), sum(tail) / len(tail)
        if not (math.isfinite(began) and math.isfinite(ends)):
            return
        lowest = min(self._chances(), default=None)
        # A model that starts well below the entropy, such as a pretrained one, may stay there.
        knew = lowest is not None and began < 0.7 * lowest
        noise = _noise(self._losses)
        margin = max(self.worse * abs(began), 3 * noise * math.sqrt(1 / len(head) + 1 / len(tail)))
        has_risen = ends > began + margin and not (knew and lowest and ends < 0.97 * lowest)
        if has_risen and not self._remembers(pl_module):
            self.alarm(
                "rises",
                f"the training loss has risen from {began:.4g} at the start to {ends:.4g} after {count} steps",
                "Check whether the learning rate is too large, so that the training diverges, or whether a gradient, "
                "a loss or a label has the wrong sign or value.",
            )
        # Some trainings stay at the level of guessing for a while.
        if count < self.steps or not (last or (self._epochs >= self.epochs and count >= self.early)):
            return
        third = count // 3
        first, middle, latest = (
            sum(part) / third
            for part in (self._losses[:third], self._losses[-2 * third : -third], self._losses[-third:])
        )
        error = noise * math.sqrt(2 / third)
        falls = middle - latest > max(error, self.least * abs(latest))
        chance = min((self._chances(explained=True)), default=None)
        if chance and began > 0.9 * chance and 0.97 * chance < ends < 1.25 * chance and not falls:
            self.alarm(
                "at-chance",
                f"the training loss did not improve on guessing: it is {ends:.4g} after {count} steps, and guessing "
                f"by the frequency of the labels gives {chance:.4g}",
                "Check whether inputs and labels belong together (shuffled, constant or random ones do not), whether "
                "every layer gets a gradient, and whether the learning rate fits.",
            )
        # If losses vary much from batch to batch, a few of them don't show whether it falls.
        telling = 2 * error <= _TELLING * abs(first)
        # A log-probability weighted by an advantage wanders around zero, or returns to it in the end.
        gains = _wanders(self._losses) or (began < 0 and min(first, middle) < began - error)
        has_stayed = began - ends < self.least * abs(began) and first - latest <= error and telling and not knew
        if has_stayed and not gains and not self._remembers(pl_module):
            self.alarm(
                "no-better",
                f"the training loss did not improve: it was {began:.4g} at the start and is {ends:.4g} after {count} "
                "steps",
                "Check whether the weights change enough and in the right direction (learning rate, gradients, "
                "optimizer), and whether inputs and labels belong together.",
            )

    def _remembers(self, pl_module: Any) -> bool:
        """Return whether the module has kept something of what it has seen since."""
        return memories.kept(pl_module) != self._kept

    def _gain(self) -> float | None:
        """Return the gain of the metric since the sanity check, as a share of the possible gain."""
        before, now = self._untrained, self._latest
        if before is None or now is None or not (math.isfinite(before) and math.isfinite(now)):
            return None
        # The possible gain of a share is its distance from one.
        highest = self._side == "max"
        scale = min(before, 1 - before) if highest and 0 < before < 1 else abs(before)
        return (now - before if highest else before - now) / max(scale, 1e-12)

    @property
    def _side(self) -> str:
        """The better side of the metric; empty if it is unknown or contradicts the metric's name."""
        named = better_side(self._name)
        return named if not self.mode or self.mode == named else ("" if named else self.mode)

    def _stayed(self) -> bool:
        gain = self._gain()
        # If there is no loss to judge: BatchNorm's statistics alone move a metric by some percent.
        same = self.least * ((2.0 if self._learns else 5.0) if self.metric else 0.5)
        return gain is not None and abs(gain) <= same

    def _judge_metric(self, pl_module: Any, last: bool) -> None:
        gain, before, now = self._gain(), self._untrained, self._latest
        if gain is None or before is None or now is None:
            return
        stayed = self._stayed() and (last or not self._been_elsewhere)
        chance = min(self._chances(), default=None)
        knew = chance and "loss" in self._name and before < 0.7 * chance
        # A pretrained model may overfit, and the sanity check saw only a part of the data.
        lost = now > 0.97 * chance if knew and chance else gain < -self.worse and bool(self._side)
        # So may one that had learned something before.
        lost = lost and not self._was_better
        remembers = "loss" in self._name and self._remembers(pl_module)
        if (lost or (not knew and stayed)) and not remembers:
            self.alarm(
                "metric-no-better",
                f"{self._name} did not improve by more than it varies: it was {before:.4g} before training and is "
                f"{now:.4g} after {self._validations} epoch{'s' * (self._validations != 1)}",
                "Check whether the weights change enough (gradients, optimizer, learning rate), and whether the "
                "model works in validation as in training (modes, BatchNorm's running statistics, preparation of "
                "inputs).",
            )

    def _chances(self, explained: bool = False) -> list[float]:
        """Return the losses of guessing the batches' integers, in nats, or only of those that explain the loss."""
        if self._entropies is None:
            count = min(map(len, self._labels), default=0)
            self._entropies = [guessing.entropy([labels[i] for labels in self._labels]) for i in range(count)]
            self._labels = self._labels[:0] if count else self._labels
        wanted = (self._explained or set()) if explained else set(range(len(self._entropies)))
        return [value for i, value in enumerate(self._entropies) if value and i in wanted]


def _wanders(losses: list[float]) -> bool:
    """Return whether losses alternate in sign, unlike those that cross zero once on their way."""
    signs = [loss > 0 for loss in losses[-_LATEST:] if loss]
    return sum(one is not next_one for one, next_one in itertools.pairwise(signs)) > 2


def _noise(losses: list[float]) -> float:
    """Return the standard deviation between losses of neighboring steps, whatever their trend."""
    if len(losses) < 2:
        return 0.0
    return float(torch.tensor(losses[-_LATEST:]).diff().abs().median()) / 0.954

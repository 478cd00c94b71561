"""The training gets somewhere: its loss, and the metric that counts, become better than they were and than guessing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards import batches, readings
from faultlab.guards.guard import Action, Guard


class LossFalls(Guard):
    """Notices a training that does not learn: after a while, or at its end, the loss is no better than it began.

    It is judged at the end of each epoch after ``epochs`` of them and ``early`` steps, and at the end of the training.
    The loss is what `training_step` returns under automatic optimisation. It has to fall by ``least`` of what it began
    with; where it began about at the entropy of some integer labels of the batch, it also has to get below that, which
    guessing by the labels' frequencies gives. It must not rise by ``worse`` of its beginning. The metric (the declared
    one, else the loss of validation) must not be what the sanity check saw of the untrained module, within half of
    ``least`` (twice ``least`` for a declared metric, five times where there is no loss to judge), nor worse by
    ``worse``; one that has been elsewhere meanwhile may pass through where it was, but not end there. A model that
    knew a good deal before, by such an entropy, may stay where it is.

    It keeps quiet about resumed trainings, about trainings of fewer than ``steps`` steps, and, without a declared
    metric, about manual optimisation. For losses that are not meant to fall, leave it out.
    """

    checks = {
        "at-chance": "the loss is that of guessing by the frequency of the labels",
        "no-better": "the loss is no better than at the beginning",
        "rises": "the loss is far above what it began with",
        "metric-no-better": "the metric that counts is no better than before the training",
    }

    def __init__(
        self,
        metric: str = "",
        mode: str = "min",
        least: float = 0.01,
        worse: float = 0.25,
        epochs: int = 2,
        steps: int = 16,
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
        self._entropy: float | None = None
        self._epochs = self._validations = 0
        self._judged = 0, False
        self._resumed = False
        self._learns = True
        self._name = ""
        self._untrained: float | None = None
        self._latest: float | None = None
        self._been_elsewhere = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._resumed = trainer.global_step > 0
        self._learns = readings.learns(pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # While others look at the batch too, who are done with it by its end.
        self._among = _integers(batch) if len(self._labels) < 16 and not self._resumed else None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._resumed or not readings.learns(pl_module):
            return
        loss = readings.loss_of(outputs)
        if loss is None:
            return
        # Asking a device for a number waits for all that it has still to do.
        self._pending.append(loss)
        if len(self._pending) >= 64:
            self._settle()
        if len(self._labels) < 16:
            self._labels.append(_integers(batch) if self._among is None else self._among)
        self._among = None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._epochs += 1
        if not self._resumed:
            self._judge(last=False)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if not self._resumed:
            self._judge(last=True)
            if self._validations and trainer.global_step >= self.steps:
                self._judge_metric(last=True)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        found = readings.metrics(trainer)
        if trainer.sanity_checking:
            self._name = self.metric or readings.validation_loss(found)
            self._untrained = found.get(self._name)
        elif self._untrained is not None and self._name in found and not self._resumed:
            self._latest = found[self._name]
            self._validations += 1
            # As for the loss: a rate that is small, or warms up, has not got far after a few short epochs.
            if self._validations >= self.epochs and trainer.global_step >= self.early:
                self._judge_metric(last=False)
            self._been_elsewhere |= not self._stayed()

    def _settle(self) -> None:
        if self._pending:
            self._losses += torch.stack([loss.reshape(()).float() for loss in self._pending]).tolist()
            self._pending = []

    def _judge(self, last: bool) -> None:
        self._settle()
        count = len(self._losses)
        if count < self.steps // 2 or (count, last) == self._judged:
            return
        self._judged = count, last
        head, tail = self._losses[: max(1, min(5, count // 12))], self._losses[-max(3, count // 8) :]
        began, ends = sum(head) / len(head), sum(tail) / len(tail)
        if not (math.isfinite(began) and math.isfinite(ends)):
            return
        chance = self._chance()
        # It knew a good deal to begin with, as a pretrained model does: there it may stay.
        knew = chance is not None and began < 0.7 * chance
        margin = max(self.worse * abs(began), 2 * torch.tensor(tail).std().item())
        if ends > began + margin and not (knew and chance and ends < 0.97 * chance):
            self.alarm(
                "rises",
                f"the training loss has risen: it began with {began:.4g} and is {ends:.4g} after {count} steps",
                "The training diverges: is the learning rate too large, or a gradient, a loss or a label of the wrong "
                "sign or value?",
            )
        # Some trainings take their time before they leave the level of guessing.
        if count < self.steps or not (last or (self._epochs >= self.epochs and count >= self.early)):
            return
        if chance and began > 0.9 * chance and 0.97 * chance < ends < 1.5 * chance:
            self.alarm(
                "at-chance",
                f"the training loss did not improve on guessing: {ends:.4g} after {count} steps, where guessing by the "
                f"frequency of the labels gives {chance:.4g}",
                "Do inputs and labels belong together (shuffled, constant or random ones do not), does every layer get "
                "a gradient, and does its learning rate fit?",
            )
        if began - ends < self.least * abs(began) and not knew:
            self.alarm(
                "no-better",
                f"the training loss did not improve: it began with {began:.4g} and is {ends:.4g} after {count} steps",
                "Do the weights change, in the right direction and by enough (learning rate, gradients, optimizer), "
                "and "
                "do inputs and labels belong together?",
            )

    def _gain(self) -> float | None:
        """What the metric has gained since the sanity check, as a share of what there was to gain."""
        before, now = self._untrained, self._latest
        if before is None or now is None or not (math.isfinite(before) and math.isfinite(now)):
            return None
        # What is left to gain of a share is what is missing from the whole.
        scale = min(before, 1 - before) if self.mode == "max" and 0 < before < 1 else abs(before)
        return (before - now if self.mode == "min" else now - before) / max(scale, 1e-12)

    def _stayed(self) -> bool:
        gain = self._gain()
        # Where there is no loss to judge: BatchNorm's statistics alone move a metric by some per cent.
        same = self.least * ((2.0 if self._learns else 5.0) if self.metric else 0.5)
        return gain is not None and abs(gain) <= same

    def _judge_metric(self, last: bool) -> None:
        gain, before, now = self._gain(), self._untrained, self._latest
        if gain is None or before is None or now is None:
            return
        stayed = self._stayed() and (last or not self._been_elsewhere)
        chance = self._chance()
        knew = chance and "loss" in self._name and before < 0.7 * chance
        # A model that knew a good deal may overfit, and what the sanity check saw was only a part of the data.
        lost = now > 0.97 * chance if knew and chance else gain < -self.worse
        if lost or (not knew and stayed):
            self.alarm(
                "metric-no-better",
                f"{self._name} did not improve: it was {before:.4g} before training and is {now:.4g} after "
                f"{self._validations} epochs of it",
                "Do the weights change by enough (gradients, optimizer, learning rate), and is the model in validation "
                "what it is in training (modes, BatchNorm's running statistics, inputs prepared in the same way)?",
            )

    def _chance(self) -> float | None:
        """The loss of guessing by frequency, for the integer labels with the fewest secrets; in nats."""
        if self._entropy is None:
            self._entropy = 0.0
            count = min(map(len, self._labels), default=0)
            found = [_entropy([labels[i] for labels in self._labels]) for i in range(count)]
            self._entropy = min((value for value in found if value), default=0.0)
            self._labels = self._labels[:0] if count else self._labels
        return self._entropy or None


def _integers(batch: Any) -> list[Tensor]:
    """What may be labels. Where the batch says what they are, other integers are inputs, whose entropy is no loss."""
    among = batches.look(batch).called_labels or readings.tensors(batch)
    return [tensor for tensor in among if _whole(tensor)]


def _whole(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.int32, torch.uint8, torch.int16) and tensor.dim() in (1, 2, 3)


def _entropy(labels: list[Tensor]) -> float | None:
    values = torch.cat([tensor.reshape(-1)[:65536].cpu() for tensor in labels])
    # Negative ones are padding, or what a loss is told to ignore.
    values = values[values >= 0]
    _, counts = torch.unique(values, return_counts=True)
    if not 2 <= len(counts) <= len(values) / 4:
        return None
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())

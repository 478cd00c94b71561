"""The guard that checks that manually accumulated gradients are averaged, not summed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView

_PASSED = ("Squeeze", "View", "Reshape", "ToCopy", "Clone", "Alias", "UnsafeView", "Unsqueeze", "Expand")
_SCALED_BY_GRADIENT = (torch.optim.SGD, torch.optim.ASGD)


class AccumulationDivided(Guard):
    """A guard against manual optimization that sums the gradients of several batches and never divides them.

    The steps are then too long by the number of accumulated batches. The guard judges modules with a single optimizer
    whose step grows with the gradient (SGD, but not Adam) and with one backward pass per batch, whose loss is a mean
    that is not divided afterwards, and whose gradients are neither divided nor clipped before the step. The number of
    batches has to be the same for several steps in a row, and smaller than that of an epoch.

    Args:
        patience: Steps in a row on undivided gradients that raise the alarm.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "backward"
    checks = {"undivided": "the gradients of several batches are summed, not averaged"}
    causes = {
        "undivided": "gradients, accumulated, batches, mean, loss, learning rate, manual",
    }

    def __init__(self, patience: int = 2, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._optimizer: Any = None
        self._sample: list[Any] = []
        self._raw: list[Tensor] = []
        self._batches = self._backwards = 0
        self._means = True
        self._counts: list[int] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_optimizer": None, "_sample": [], "_raw": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        found = parameter_samples.optimizers_of(trainer)
        if not parameter_samples.automatic(pl_module) and len(found) == 1 and type(found[0]) in _SCALED_BY_GRADIENT:
            self._optimizer = found[0]
            self._sample = [p for p in parameter_samples.parameters_of(found[0]) if p.requires_grad][:4]

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Tensor) -> None:
        if self._optimizer is not None:
            self._backwards += 1
            self._means &= _is_plain_mean(loss)

    def on_after_backward(self, trainer: TrainingView, pl_module: Any) -> None:
        if self._optimizer is not None:
            self._raw = self._gradients()

    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        if optimizer is not self._optimizer:
            return
        count = self._batches + 1
        gradients = self._gradients()
        untouched = len(gradients) == len(self._raw) and all(map(torch.equal, gradients, self._raw))
        is_sum = self._means and untouched and self._backwards == count and 1 < count < trainer.num_training_batches
        self._counts = [*self._counts, count][-self.patience :] if is_sum else []
        self._batches, self._backwards, self._means = -1, 0, True
        if len(self._counts) == self.patience and len(set(self._counts)) == 1:
            self.alarm(
                "undivided",
                f"a step was taken on the sum of the gradients of {count} batches, without a division: each step is "
                f"{count} times as long as on their mean",
                f"Divide the loss by {count} before {self.terms.either('manual_backward', 'backward()')}, or reduce "
                "the learning rate.",
            )

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1

    def _gradients(self) -> list[Tensor]:
        found = [parameter_samples.local(parameter.grad) for parameter in self._sample]
        return [gradient.detach().reshape(-1)[:64].clone() for gradient in found if parameter_samples.plain(gradient)]


def _is_plain_mean(loss: Any) -> bool:
    """Return whether a loss is a mean over samples that was not divided afterwards."""
    node = getattr(loss, "grad_fn", None)
    for _ in range(8):
        if node is None:
            return False
        reduction = getattr(node, "_saved_reduction", None)
        name = type(node).__name__
        if reduction is not None or name.startswith("MeanBackward"):
            return reduction in (None, 1)
        if not name.startswith(_PASSED):
            return False
        node = node.next_functions[0][0]
    return False

"""The training of a copy of a module on a single batch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from faultlab.guards.support.trials import Trial


class Overfitted(NamedTuple):
    """What the training of a copy on one batch showed.

    Attributes:
        losses: The loss of each step.
        without: The trainable parameters that never had a gradient.
        unmoved: Those whose gradient was always zero.
    """

    losses: list[float]
    without: list[str]
    unmoved: list[str]

    def fell(self, least: float) -> tuple[bool, float, float]:
        """Return whether the loss fell by this share, with the loss at the beginning and at the end."""
        # Dropout and noise make single losses vary.
        few = max(1, len(self.losses) // 10)
        began, ends = sum(self.losses[:few]) / few, sum(self.losses[-few:]) / few
        began = max(began, self.losses[0])
        return began - ends >= least * abs(began), began, ends

    @property
    def comparable(self) -> bool:
        """True if the losses are finite, and the first one leaves room to fall."""
        return bool(self.losses) and all(map(math.isfinite, self.losses)) and abs(self.losses[0]) >= 1e-6


def overfit(trial: Trial, batch: Any, batch_idx: int, steps: int, rate: float) -> Overfitted:
    """Train a copy on one batch with Adam.

    Args:
        trial: The copy, whose weights change.
        batch: The batch.
        batch_idx: Its index.
        steps: Steps of Adam.
        rate: The learning rate.

    Returns:
        The losses, and the parameters that did not take part.

    Raises:
        Exception: Whatever the module's step raises.
    """
    losses: list[float] = []
    with trial.running(grad=True):
        learning = {name: p for name, p in trial.module.named_parameters() if p.requires_grad}
        without, unmoved = dict(learning), dict(learning)
        optimizer = torch.optim.Adam(learning.values(), lr=rate)
        for _ in range(steps):
            outputs = trial.step(batch, batch_idx)
            loss: Any = outputs.get("loss") if isinstance(outputs, dict) else outputs
            optimizer.zero_grad()
            loss.backward()
            without = {name: p for name, p in without.items() if p.grad is None}
            unmoved = {name: p for name, p in unmoved.items() if p.grad is None or not bool((p.grad != 0).any())}
            optimizer.step()
            losses.append(float(loss.detach()))
    return Overfitted(losses, list(without), [name for name in unmoved if name not in without])

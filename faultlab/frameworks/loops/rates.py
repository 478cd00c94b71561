"""The learning rates of a loop, as its trajectory has them: those that change, at the step that they are used in."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from faultlab.core.trajectory import Trajectory


class Rates:
    """The latest rate of each group of parameters."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory
        self._known: dict[tuple[int, int], float] = {}

    def note(self, optimizers: Sequence[Optimizer], step: int) -> None:
        """Record the rates that the optimizers have in a step, if they are new."""
        for number, optimizer in enumerate(optimizers):
            for index, group in enumerate(optimizer.param_groups):
                rate = float(group.get("lr") or 0.0)
                if rate != self._known.get((number, index)):
                    self._known[number, index] = rate
                    self._trajectory.learning_rates.append((step, rate))

"""The view of a training loop that calls its module itself, as far as it is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from faultlab.guards.support.hand_loop import HandLoop

if TYPE_CHECKING:
    from faultlab.guards.support.loop_ranks import LoopRanks

UNKNOWN = 16
"""The number of batches for one step while it is unknown: no guard expects a step earlier."""


class WatchedLoop(HandLoop):
    """The view of a loop that calls its module itself. It shows no metrics, and no plan of its epochs.

    Args:
        optimizers: The optimizers.
        train: The training loader, None if unknown.
        validation: The validation loader, None if unknown.
        accumulates: Batches whose gradients are accumulated for one step. None to learn it from the first steps.
        epochs: The planned number of epochs, -1 if unknown.
    """

    def __init__(
        self, optimizers: list[Optimizer], train: Any, validation: Any, accumulates: int | None, epochs: int
    ) -> None:
        super().__init__(optimizers, train, validation, accumulates or UNKNOWN, epochs)
        self.callback_metrics = None
        # A loop may leave its loader early.
        self.num_training_batches = float("inf")
        self._given = accumulates is not None
        self.is_learning = not self._given
        self.ranks: LoopRanks | None = None
        self._gaps: list[int] = []
        self._since_step = 0
        self.stepped_schedulers: list[tuple[Any, int]] = []

    def scheduled(self, scheduler: Any, *_: Any, **__: Any) -> None:
        """Note that a scheduler is about to be stepped."""
        if getattr(scheduler, "_is_initial", False) or any(scheduler is known for known, _ in self.stepped_schedulers):
            return
        if any(getattr(scheduler, "optimizer", None) is optimizer for optimizer in self.optimizers):
            turns = getattr(scheduler, "last_epoch", 0)
            self.stepped_schedulers.append((scheduler, turns if isinstance(turns, int) else 0))

    def settings(self) -> dict[str, Any]:
        """Return the known settings."""
        found = super().settings()
        return found if self._given else {**found, "accumulate_grad_batches": None}

    def learn(self, stepped: bool) -> None:
        """Learn from a batch with or without a step how many batches are accumulated for one."""
        self._since_step += 1
        if not stepped:
            return
        self._gaps.append(self._since_step)
        if len(self._gaps) == 3:
            most = max(self._gaps)
            # The rest of an epoch may be added to the batches of the next.
            self.accumulate_grad_batches = most if most == 1 else 2 * most
            self.is_learning = False
        self._since_step = 0

"""The guard that checks that the gradients of batches end up in a step, and are not cleared before."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import has_own_way, optimizers_of, parameters_of
from faultlab.guards.support.training_view import TrainingView

_PROBES = 3


class GradientsUsed(Guard):
    """A guard against gradients that are cleared before a step has used them, where batches are accumulated.

    Gradients of a batch without a step have to be there when the next backward pass begins. Single batches may be left
    out on purpose. The guard does not judge loops whose batches it can't see, as one batch may have several backward
    passes, nor modules that override backward or the step, and weights that change unseen count as a step. That no step
    is taken at all is an alarm of `StepsTaken`.

    Args:
        share: The share of batches whose gradients may be cleared.
        rest: The share of an epoch's batches whose gradients may be cleared at the end of each epoch.
        patience: Batches whose gradients may be cleared before their share is judged.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "cleared": "gradients of accumulated batches are cleared before a step has used them",
        "rest-cleared": "the gradients of the last batches of each epoch are cleared and never used",
    }
    causes = {
        "cleared": "gradients, zero_grad, lost, accumulated, batches, step",
        "rest-cleared": "gradients, zero_grad, lost, accumulated, batches, epoch, step",
    }

    def __init__(
        self,
        share: float = 0.4,
        rest: float = 0.02,
        patience: int = 3,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.share = share
        self.rest = rest
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._judged = False
        self._probes: list[Any] = []
        self._versions: list[int] = []
        self._pending = self._stepped = self._backward = self._accumulates = self.dormant = False
        self._batches = self._group = self._lost = self._in_epoch = self._steps = 0
        self._before = 0
        self._boundary = False
        self._rests: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_probes": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._judged = trainer.shows_batches and not has_own_way(pl_module)
        if not self._judged:
            self.skip("the batches are not seen, or the module runs its own backward passes and steps")

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._boundary = True
        self._before, self._in_epoch = self._in_epoch, 0

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        another, self._backward = not self._backward or trainer.fetched > 1, True
        if self._judged and another:
            if self._pending and self._are_cleared():
                self._lose()
            self._batches += 1
            self._in_epoch += 1
            self._group += 1
        self._pending = self._boundary = False

    def _are_cleared(self) -> bool:
        changed = [probe._version for probe in self._probes] != self._versions
        return not changed and all(probe.grad is None for probe in self._probes)

    def on_after_backward(self, trainer: TrainingView, pl_module: Any) -> None:
        # The end of a batch without a step may show only after its gradients were cleared.
        if not self._judged:
            return
        found = (p for o in optimizers_of(trainer) for p in parameters_of(o) if p.grad is not None)
        self._probes = [*islice(found, _PROBES)]
        self._versions = [probe._version for probe in self._probes]
        self._pending = bool(self._probes)

    def _lose(self) -> None:
        lost, self._group = self._group, 0
        if self._boundary:
            self._rests.append(lost / max(1, self._before))
            if len(self._rests) >= 2 and min(self._rests[-2:]) >= self.rest:
                self._findings.say(
                    self,
                    [
                        (
                            "rest-cleared",
                            f"the gradients of the last {lost} of {self._before} batches of an epoch were cleared "
                            "without a step, again: they are computed for nothing",
                            "Step on the rest of each epoch, too, or let it remain for the next one.",
                        )
                    ],
                )
            return
        self._lost += lost
        if self._steps and self._lost > self.patience and self._lost >= self.share * self._batches:
            self._findings.say(
                self,
                [
                    (
                        "cleared",
                        f"the gradients of {self._lost} of {self._batches} batches were cleared without a step, so "
                        "that the next one has those of its last batches only",
                        "Call zero_grad() only after a step, and not before each of the accumulated batches.",
                    )
                ],
            )

    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        self._stepped, self._pending, self._group = True, False, 0
        self._steps += 1

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped, backward, self._stepped, self._backward = self._stepped, self._backward, False, False
        # Where batches are not accumulated, a few of them now and then suffice.
        self.dormant = self._batches >= pace.FIRST and not self._accumulates
        self._accumulates = self._accumulates or (backward and not stepped)

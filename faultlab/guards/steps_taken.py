"""The guard that checks that each optimizer step was taken, and only once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, parameter_samples
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import (
    Finding,
    Weights,
    automatic,
    has_own_way,
    optimizers_of,
    parameters_of,
)
from faultlab.guards.support.training_view import TrainingView


class StepsTaken(Guard):
    """A guard against batches without a backward pass, or without an optimizer step though one was due.

    Lightning skips both for a step that returns None. Under manual optimization a module may accumulate gradients,
    unless they are cleared without a step. Backward passes outside of Lightning are ignored if optimizers are stepped.

    Args:
        patience: Batches in a row that a module may skip on purpose.
        manual_patience: Batches in a row without a step under manual optimization.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "no-backward": "a training batch ended without a backward pass",
        "no-step": "all accumulated batches ended without an optimizer step",
        "stepped-twice": "an optimizer took two steps on the gradients of one backward pass",
        "state-lost": "an optimizer lost its momenta between two steps",
    }
    causes = {
        "no-backward": "backward, loss, return, none, manual, training_step",
        "no-step": "optimizer.step, no parameter changed, manual, training_step, batches",
        "stepped-twice": "optimizer.step, twice, second time, closure, gradients, backward",
        "state-lost": "optimizer, lost, reset, momenta, restored, resume, not loaded, two steps",
    }

    def __init__(
        self, patience: int = 0, manual_patience: int = 16, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.patience = patience
        self.manual_patience = manual_patience
        self._forget()

    def _forget(self) -> None:
        self._backwards = self._steps = 0
        self._without_backward = self._without_step = 0
        self._stepped_after: dict[int, int] = {}
        self._seen: dict[int, Any] = {}
        self._remembered: dict[int, int] = {}
        self._waiting: list[Any] = []
        self._discarded = 0
        self._ever_backward = False
        self._versions: list[int] = []
        self._own_way = False
        self._writes = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self.watchful = self._own_way = has_own_way(pl_module)
        self._writes = parameter_samples.writes(pl_module) if self._own_way else 0

    @pace.unusual
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._backwards += 1
        self._ever_backward = True
        if self._waiting:
            # Accumulated gradients would still be there; without a step they were computed for nothing.
            self._discarded += any(parameter.grad is None for parameter in self._waiting)
            self._waiting = []

    @pace.unusual
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        self._steps += 1
        key, state = id(optimizer), getattr(optimizer, "state", None)
        again = self._backwards > 0 and self._stepped_after.get(key) == self._backwards
        self._stepped_after[key] = self._backwards
        self._seen[key] = optimizer
        lost = self._remembered.pop(key, 0) and not state
        findings: list[Finding] = []
        if again:
            findings.append(
                (
                    "stepped-twice",
                    f"{type(optimizer).__name__} took a second step on the gradients of one backward pass",
                    "Remove the second call of optimizer.step(), such as one after a closure that steps already.",
                )
            )
        if lost:
            findings.append(
                (
                    "state-lost",
                    "the optimizer's state was lost between two steps: its momenta and moments start again, as if it "
                    "had been reset",
                    "Check whether the optimizer was created again, or its state was cleared or not loaded. "
                    + self.terms.either(
                        "Resume with ckpt_path, which restores it.", "Load its state_dict when you resume."
                    ),
                )
            )
        self._findings.say(self, findings)

    @pace.unusual
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._steps and self._backwards and not self._own_way:
            # As most batches are.
            self._end_batch()
            return
        stepped, due = self._steps, max(1, trainer.accumulate_grad_batches)
        own = automatic(pl_module)
        moved = self._own_way and self._moved(pl_module)
        unseen = not stepped and (moved if own else self._written(trainer, pl_module))
        if unseen or (not self._backwards and trainer.skips_backward):
            self._forget_batch()
            return
        self._without_backward = 0 if self._backwards or (stepped and not own) else self._without_backward + 1
        self._without_step = 0 if stepped else self._without_step + 1
        self._backwards = self._steps = 0
        self._stepped_after.clear()
        findings: list[Finding] = []
        if self._without_backward > (self.patience if own or self._ever_backward else self.manual_patience):
            findings.append(
                (
                    "no-backward",
                    f"{self.batch_name(batch_idx)} ended without a backward pass, so that nothing was learned from it",
                    self.terms.either(
                        "Return the loss from training_step on every path, not None, or call manual_backward.",
                        "Call backward() on the loss of every batch.",
                    ),
                )
            )
        self._waiting = [] if own or stepped else [p for o in optimizers_of(trainer) for p in _graded(o)]
        self._discarded = 0 if stepped else self._discarded
        if self._without_step > (self.patience + due - 1 if own else self.manual_patience) or self._discarded > 1:
            findings.append(
                (
                    "no-step",
                    f"{self.batch_name(batch_idx)} ended without an optimizer step{_in_row(self._without_step)}: no "
                    "parameter changed",
                    "Check that there is an optimizer, and that "
                    + self.terms.either("optimizer_step (or training_step, under manual optimization)", "the loop")
                    + " calls optimizer.step().",
                )
            )
        self._remember()
        self._findings.say(self, findings)

    def _end_batch(self) -> None:
        """End a batch with a backward pass and a step."""
        self._waiting = []
        self._discarded = 0
        self._forget_batch()
        self._remember()

    def _remember(self) -> None:
        for key, optimizer in self._seen.items():
            self._remembered[key] = len(getattr(optimizer, "state", ()))

    def _forget_batch(self) -> None:
        self._backwards = self._steps = 0
        self._without_backward = self._without_step = 0
        self._stepped_after.clear()

    def _moved(self, module: Any) -> bool:
        """Return whether a module that steps by itself has done so, unknown to Lightning."""
        before, self._writes = self._writes, parameter_samples.writes(module)
        return before != self._writes

    def _written(self, trainer: TrainingView, module: Any) -> bool:
        """Return whether parameters were written to: a module may step optimizers that Lightning does not know."""
        versions = Weights.of(trainer, module).sample.versions()
        before, self._versions = self._versions, versions
        return bool(before) and before != versions


def _in_row(count: int) -> str:
    return f", as the {count - 1} before it did" if count > 2 else ", as the one before it did" if count == 2 else ""


def _graded(optimizer: Any) -> list[Any]:
    """Return the first parameter of an optimizer that has a gradient, in a list."""
    return [parameter for parameter in parameters_of(optimizer) if parameter.grad is not None][:1]

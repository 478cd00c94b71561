"""The optimizer steps that the training should have taken were taken, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples
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
    """Detects a batch after which no backward pass ran or no optimizer was stepped, though it was time for one.

    Lightning skips both for a step that returns None, and goes on counting ``global_step``. ``patience`` batches in
    a row are let pass, for modules that skip a batch on purpose. Under manual optimisation a module may accumulate
    as it likes: there ``manual_patience`` batches in a row may go by without a step, unless gradients are cleared
    meanwhile. It keeps quiet about backward passes that Lightning has no part in, where optimizers are stepped all
    the same.
    """

    checks = {
        "no-backward": "a training batch ended and no loss was propagated backwards",
        "no-step": "as many batches as are accumulated ended and no optimizer was stepped",
        "stepped-twice": "an optimizer took two steps on the gradients of one backward pass",
        "state-lost": "an optimizer forgot its momenta between two steps",
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
        self._own_way = has_own_way(pl_module)
        self._writes = parameter_samples.writes(pl_module) if self._own_way else 0

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._backwards += 1
        self._ever_backward = True
        if self._waiting:
            # Gradients that were to be accumulated are still there; without a step, they were for nothing.
            self._discarded += any(parameter.grad is None for parameter in self._waiting)
            self._waiting = []

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
                    f"{type(optimizer).__name__} is stepped twice on the gradients of one backward pass",
                    "Is optimizer.step() called a second time, such as by hand after a closure that steps already?",
                )
            )
        if lost:
            findings.append(_LOST)
        self._findings.say(self, findings)

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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
                    f"batch {batch_idx} ended and no loss was propagated backwards, so nothing was learnt from it",
                    "Does training_step return its loss (or call manual_backward) on every path, and not None?",
                )
            )
        self._waiting = [] if own or stepped else [p for o in optimizers_of(trainer) for p in _graded(o)]
        self._discarded = 0 if stepped else self._discarded
        if self._without_step > (self.patience + due - 1 if own else self.manual_patience) or self._discarded > 1:
            findings.append(
                (
                    "no-step",
                    f"batch {batch_idx} ended and no optimizer was stepped in the last {self._without_step} batches: "
                    "no parameter changed",
                    "Is there an optimizer, and does optimizer_step (or training_step, under manual optimisation) call "
                    "optimizer.step()?",
                )
            )
        for optimizer in self._seen.values():
            self._remembered[id(optimizer)] = len(getattr(optimizer, "state", ()))
        self._findings.say(self, findings)

    def _forget_batch(self) -> None:
        self._backwards = self._steps = 0
        self._without_backward = self._without_step = 0
        self._stepped_after.clear()

    def _moved(self, module: Any) -> bool:
        """Whether a module that does a step in its own way has done one, of which Lightning hears nothing."""
        before, self._writes = self._writes, parameter_samples.writes(module)
        return before != self._writes

    def _written(self, trainer: TrainingView, module: Any) -> bool:
        """Whether parameters were written to: a module may step optimizers in which Lightning has no part."""
        versions = Weights.of(trainer, module).sample.versions()
        before, self._versions = self._versions, versions
        return bool(before) and before != versions


_LOST: Finding = (
    "state-lost",
    "the optimizer's state was lost between two steps: its momenta and moments begin anew, as if it had been reset",
    "Was the optimizer made anew or its state cleared or not loaded? Resume through ckpt_path, which restores it.",
)


def _graded(optimizer: Any) -> list[Any]:
    """The first parameter of an optimizer that has a gradient."""
    return [parameter for parameter in parameters_of(optimizer) if parameter.grad is not None][:1]

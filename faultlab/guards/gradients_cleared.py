"""The guard that checks that gradients are cleared between two steps of an optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import parameters_of
from faultlab.guards.support.training_view import TrainingView

_PROBES = 3


class GradientsCleared(Guard):
    """A guard against steps on gradients that still contain those of the optimizer's previous step.

    Between two steps of an optimizer there has to be a backward pass that starts with gradients of None or zero. The
    guard ignores backward passes outside of Lightning.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"not-cleared": "an optimizer's step uses gradients that its previous step has used already"}
    causes = {
        "not-cleared": "gradients, accumulated, zero_grad, previous batches, backward, optimizer",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self._due: dict[int, list[Any]] = {}
        self._grown: set[int] = set()

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._due.clear(), self._grown.clear()  # type: ignore[func-returns-value]

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        for key in [*self._due]:
            kept = [p.grad for p in self._due[key] if p.grad is not None]
            if not kept or not any(bool(gradient.any()) for gradient in kept if not gradient.is_sparse):
                del self._due[key]
                self._grown.discard(key)

    @pace.sparse
    def on_after_backward(self, trainer: TrainingView, pl_module: Any) -> None:
        self._grown.update(self._due)

    @pace.sparse
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        key = id(optimizer)
        if not pace.due(trainer):
            self._due.pop(key, None)
            return
        added_up = key in self._due and key in self._grown
        probes = [*islice((p for p in parameters_of(optimizer) if p.grad is not None), _PROBES)]
        self._grown.discard(key)
        if probes:
            self._due[key] = probes
        if added_up:
            self._findings.say(
                self,
                [
                    (
                        "not-cleared",
                        f"{type(optimizer).__name__} is about to step on gradients that were not cleared since its "
                        "previous step, so that they accumulate over batches",
                        "Call zero_grad() before each backward pass"
                        + self.terms.either(", and check that optimizer_zero_grad does it at each step.", "."),
                    )
                ],
            )

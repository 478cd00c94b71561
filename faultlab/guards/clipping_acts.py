"""The guard that checks that clipped gradients are those of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import clip_calls, pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, optimizers_of, parameters_of, searches
from faultlab.guards.support.training_view import TrainingView


class ClippingActs(Guard):
    """A guard against gradient clipping without effect: before the backward pass, of no parameter, or undone later.

    Whoever calls `clip_grad_norm_` or `clip_grad_value_` states a limit. The gradients that the optimizer steps on have
    to respect it, if they were not clipped at all or have grown since. Of several calls before a step the last one
    counts. Optimizers that are not torch's own may change gradients, and are not judged, nor is SGD with Nesterov
    momentum where it adds the momentum to the gradients themselves (foreach, the default on GPUs). Of gradients that
    FSDP2 shares among the ranks, the part that this rank holds has to respect the limit.

    Args:
        tolerance: How far gradients may exceed the limit, as a share of it.
        patience: Looks in a row at gradients above the limit that raise the alarm.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "before-backward": "gradients are clipped before the backward pass that computes those of the step",
        "of-nothing": "gradient clipping is given no parameter with a gradient",
        "undone": "gradients grow between clipping and the step",
    }
    causes = {
        "before-backward": "gradients, clipped, clipping, clip_grad, before backward, order, norm, limit, step",
        "of-nothing": "gradients, clipped, clipping, clip_grad, no parameter, generator, norm, limit",
        "undone": "gradients, clipped, clipping, clip_grad, changed, norm, limit, step, scaled",
    }

    def __init__(
        self, tolerance: float = 0.05, patience: int = 2, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.tolerance = tolerance
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._undo: list[Any] = []
        self._owners: dict[int, list[Any]] = {}
        self._calls: dict[int, _Call] = {}
        self._over: dict[int, int] = {}
        self._found: list[Finding] = []
        self._backwards = 0
        self._looking = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_undo": [], "_owners": {}, "_calls": {}}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._leave()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.is_flattened:
            self.skip("the gradients are flattened")
            return
        for optimizer in optimizers_of(trainer):
            if not type(optimizer).__module__.startswith("torch.optim") or searches(optimizer):
                continue
            if any(map(_changes_gradients, optimizer.param_groups)):
                self.skip("the optimizer adds its momentum to the gradients")
                continue
            for parameter in parameters_of(optimizer):
                self._owners.setdefault(id(parameter), []).append(optimizer)
            self._undo.append(optimizer.register_step_post_hook(self._stepped).remove)
        if self._undo:
            clip_calls.CALLS.observe(self._clipped)

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._leave()

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        self._leave()

    def _leave(self) -> None:
        clip_calls.CALLS.leave(self._clipped)
        while self._undo:
            self._undo.pop()()
        self._forget()

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        before, self._looking = self._looking, pace.due(trainer)
        if self._looking and not before:
            self._calls.clear()

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._backwards += 1

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        found, self._found = self._found, []
        if found:
            self._findings.say(self, found)

    def _clipped(self, parameters: list[Any], limit: float, by_norm: bool) -> None:
        if not self._looking or not 0 < limit < math.inf:
            return
        try:
            with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
            after = clip_calls.size(with_gradient, by_norm)
            if parameters:
                call = _Call(parameters, limit, by_norm, after, len(with_gradient), self._backwards)
                self._calls |= {id(owner): call for p in parameters for owner in self._owners.get(id(p), ())}
                return
            # Of several groups of parameters one may have none, which leaves the limits of the others as they are.
            for owner in {id(owner): owner for owners in self._owners.values() for owner in owners}.values():
                call = _Call(parameters_of(owner), limit, by_norm, after, 0, self._backwards)
                self._calls.setdefault(id(owner), call)
        except Exception as error:
            self._mistake(error)

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        call = self._calls.pop(id(optimizer), None)
        if not self._looking or call is None:
            return
        # It has served its step, so that other optimizers of its parameters may step on later gradients.
        self._calls = {key: other for key, other in self._calls.items() if other is not call}
        try:
            size = clip_calls.size(call.parameters, call.by_norm)
            self.looked += 1
            above = size > (1 + self.tolerance) * max(call.limit, call.after)
            self._over[id(optimizer)] = self._over.get(id(optimizer), 0) + 1 if above else 0
            if self._over[id(optimizer)] >= self.patience:
                self._found.append(self._finding(call, size))
        except Exception as error:
            self._mistake(error)

    def _finding(self, call: _Call, size: float) -> Finding:
        of = "norm" if call.by_norm else "largest value"
        found = f"the step's gradients have a {of} of {size:.3g}, though they were clipped to {call.limit:.3g}"
        if call.backwards < self._backwards:
            return (
                "before-backward",
                f"{found}: clipping came before the backward pass that computed them",
                "Clip between backward() and the optimizer's step"
                + self.terms.either(": in configure_gradient_clipping, or by the Trainer's gradient_clip_val.", "."),
            )
        if not call.clipped:
            return (
                "of-nothing",
                f"{found}: none of the parameters passed to clipping had a gradient",
                "Pass list(model.parameters()), since a generator is empty after its first use.",
            )
        return (
            "undone",
            f"{found}: they have grown from {call.after:.3g} since",
            "Clip last before the step: after unscaling, dividing, adding and reducing gradients.",
        )


def _changes_gradients(group: dict[str, Any]) -> bool:
    """Return whether SGD adds the momentum of a group to its gradients in place, so that they show no limit later."""
    if not group.get("nesterov") or group.get("fused"):
        return False
    # Without a choice, torch takes the foreach implementation for parameters on GPUs.
    chosen = group.get("foreach")
    return bool(chosen) or (chosen is None and any(parameter.device.type != "cpu" for parameter in group["params"]))


@dataclass(frozen=True)
class _Call:
    """The last call that clipped gradients of an optimizer."""

    parameters: list[Any]
    limit: float
    by_norm: bool
    after: float
    clipped: int
    backwards: int

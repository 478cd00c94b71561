"""The guard that checks that backward computes the gradients of the loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, names_of, optimizers_of, parameters_of, plain
from faultlab.guards.support.training_view import TrainingView

_NEGATIVE = -0.9
_ALIKE = 0.99


class BackwardFaithful(Guard):
    """A guard against gradients that are not those of the loss: negated, scaled, noisy, stale, or with something added.

    Before each backward pass it computes the gradient of each optimizer's last weight itself, at a small part of the
    cost of a backward pass, and afterwards compares it with the actual gradient. Hooks that a module has registered on
    its tensors are therefore called once more.

    The guard skips trainings on several processes, which share their gradients, losses that can't be differentiated
    twice, and gradients that are not finite. Leave it out for a module whose ``backward`` changes gradients on purpose.

    Args:
        tolerance: The allowed difference, as a share of the gradient's norm.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "backward"
    checks = {
        "missing": "a parameter that the loss depends on has no gradient",
        "negated": "a gradient has the wrong sign",
        "scaled": "a gradient is a multiple of that of the loss",
        "unlike": "a gradient differs from that of the loss",
    }
    causes = {
        "missing": "no gradient, no grad, backward, hook, callback, loss, tensors",
        "negated": "gradient, negated, sign, increases, backward, hook, callback, loss, tensors",
        "scaled": "gradient norm, doubled, accumulated, weight, clipped, backward, hook, callback, loss, tensors",
        "unlike": "gradient, noise, stale, previous batch, penalty, norm, backward, hook, callback, loss, tensors",
    }

    def __init__(self, tolerance: float = 0.05, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.tolerance = tolerance
        self._expected: list[tuple[Any, torch.Tensor, torch.Tensor | None]] = []
        self._able = True

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._expected = []
        self._able = True

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._expected = []
        # Asked each time, as a loop may make its process group after the first batch has begun.
        if self._able and trainer.world_size > 1:
            self._able = False
            self.skip("several processes share the gradients")
        if not self._able or not isinstance(loss, torch.Tensor) or loss.numel() != 1 or loss.grad_fn is None:
            return
        probes = [probe for optimizer in optimizers_of(trainer) for probe in _last_weight(optimizer)]
        try:
            found = torch.autograd.grad(loss, probes, retain_graph=True, allow_unused=True) if probes else ()
        except RuntimeError as error:
            # A reentrant checkpoint, or a graph that was freed: the backward pass to come will raise the error itself.
            self._able = False
            self.skip(f"the loss can't be differentiated twice: {error}")
            return
        for probe, gradient in zip(probes, found):
            if gradient is not None and plain(gradient):
                before = None if probe.grad is None else probe.grad.detach().clone()
                self._expected.append((probe, gradient.detach(), before))

    def on_after_backward(self, trainer: TrainingView, pl_module: Any) -> None:
        expected, self._expected = self._expected, []
        self.looked += bool(expected)
        findings: list[Finding] = []
        for probe, own, before in expected:
            if before is None and _is_same(probe.grad, own):
                continue
            size = float(own.norm())
            if not size or size - size != 0:
                continue
            if probe.grad is None:
                name = names_of(pl_module).get(id(probe), "?")
                findings.append(("missing", f"{name} has no gradient, though the loss depends on it", _BACKWARD))
                continue
            arrived = probe.grad.detach() if before is None else probe.grad.detach() - before
            length = float(arrived.norm())
            if length - length == 0 and float((arrived - own).norm()) > self.tolerance * size:
                along = float((arrived * own).sum()) / (length * size) if length else 0.0
                name = names_of(pl_module).get(id(probe), "?")
                findings.append(_difference(name, length / size, along))
        if findings:
            self._findings.say(self, findings)


_BACKWARD = "Look at the code between the loss and the gradients: backward, hooks on tensors, and callbacks."


def _difference(name: str, ratio: float, along: float) -> Finding:
    if along < _NEGATIVE:
        return "negated", f"the gradient of {name} is negated: its sign is wrong, so that the loss increases", _BACKWARD
    if along > _ALIKE:
        found = (
            f"the gradient of {name} is {ratio:.3g} times that of the loss: its gradient norm is wrong, as if it was "
        )
        return "scaled", found + "doubled, accumulated with a wrong weight or clipped", _BACKWARD
    found = (
        f"the gradient of {name} is not that of the loss (cosine {along:.2f}, {ratio:.3g} times the norm): it is "
        "noise, "
    )
    return "unlike", found + "stale from a previous batch, or contains a penalty", _BACKWARD


def _is_same(arrived: Any, own: torch.Tensor) -> bool:
    """Return whether a gradient is exactly the expected one, as it is if nothing interferes."""
    return arrived is not None and arrived.layout is torch.strided and torch.equal(arrived, own)


def _last_weight(optimizer: Any) -> list[Any]:
    """Return the last matrix that an optimizer holds, or its last parameter if there is none."""
    # From the end, where it usually is, since the checks on a tensor are the slowest part here.
    last: list[Any] = []
    for parameter in reversed(parameters_of(optimizer)):
        if parameter.requires_grad and (parameter.dim() > 1 or not last) and plain(parameter):
            if parameter.dim() > 1:
                return [parameter]
            last = [parameter]
    return last

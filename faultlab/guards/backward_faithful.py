"""Backward leaves the gradients that the loss has."""

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
    """Detects gradients that are not those of the loss: negated, scaled, noise, stale, or with something added.

    Before each backward it works out the gradient of each optimizer's last weight by itself, which takes a small part
    of a backward pass, and afterwards compares what has arrived: they may differ by ``tolerance`` of its norm. Hooks
    that a module has put on its tensors are called once more for it. It keeps quiet on several processes, which share
    their gradients, where backward can't be run twice, and about gradients that are not finite. A module whose own
    ``backward`` changes gradients on purpose should leave it out.
    """

    level: ClassVar[Level] = "full"
    judges = "backward"
    checks = {
        "missing": "a parameter that the loss depends on got no gradient",
        "negated": "a gradient has the wrong sign",
        "scaled": "a gradient is a multiple of the loss's own",
        "unlike": "a gradient is another than the loss's own",
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
        self._able = trainer.world_size == 1
        if not self._able:
            self.skip("several processes share the gradients")

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._expected = []
        if not self._able or not isinstance(loss, torch.Tensor) or loss.numel() != 1 or loss.grad_fn is None:
            return
        probes = [probe for optimizer in optimizers_of(trainer) for probe in _last_weight(optimizer)]
        try:
            found = torch.autograd.grad(loss, probes, retain_graph=True, allow_unused=True) if probes else ()
        except RuntimeError as error:
            # A checkpoint of the reentrant kind, or a graph that was freed: the backward to come will say so itself.
            self._able = False
            self.skip(f"the loss can't be driven backwards twice: {error}")
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
                findings.append(("missing", f"{name} got no gradient, though the loss depends on it", _BACKWARD))
                continue
            arrived = probe.grad.detach() if before is None else probe.grad.detach() - before
            length = float(arrived.norm())
            if length - length == 0 and float((arrived - own).norm()) > self.tolerance * size:
                along = float((arrived * own).sum()) / (length * size) if length else 0.0
                name = names_of(pl_module).get(id(probe), "?")
                findings.append(_difference(name, length / size, along))
        if findings:
            self._findings.say(self, findings)


_BACKWARD = "Look at what comes between the loss and the gradients: backward, hooks on tensors, and callbacks."


def _difference(name: str, ratio: float, along: float) -> Finding:
    if along < _NEGATIVE:
        return "negated", f"the gradient of {name} has the wrong sign: it is negated, and the loss increases", _BACKWARD
    if along > _ALIKE:
        found = f"the gradient of {name} is {ratio:.3g} times the loss's own: its gradient norm is off, as if doubled, "
        return "scaled", found + "accumulated with the wrong weight or clipped", _BACKWARD
    found = f"the gradient of {name} is not the loss's own (cosine {along:.2f}, {ratio:.3g} times its norm): noise, a "
    return "unlike", found + "stale one of a previous batch, or a penalty was added", _BACKWARD


def _is_same(arrived: Any, own: torch.Tensor) -> bool:
    """Whether a gradient is to the bit what it should be, as it is where nobody interferes."""
    return arrived is not None and arrived.layout is torch.strided and torch.equal(arrived, own)


def _last_weight(optimizer: Any) -> list[Any]:
    """The last matrix that an optimizer holds; its last parameter where there is none."""
    # From the end, where it mostly is: asking what a tensor is takes longer than anything else here.
    last: list[Any] = []
    for parameter in reversed(parameters_of(optimizer)):
        if parameter.requires_grad and (parameter.dim() > 1 or not last) and plain(parameter):
            if parameter.dim() > 1:
                return [parameter]
            last = [parameter]
    return last

"""The guard that checks that the loss is a finite scalar that depends on parameters and takes plausible values."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, parameter_samples
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, automatic
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.support.usual_batches import is_finite

_TRANSPARENT = ("Div", "Mul", "Neg", "Add", "Sum", "Mean", "ToCopy", "View", "Alias", "Squeeze")
_NEVER_NEGATIVE = ("MseLoss", "BinaryCrossEntropy", "SmoothL1Loss", "HuberLoss")
_FEW_NODES = 12
_SIGNED = 8
"""The number of positive losses that make a negative one suspect; weighted log-probabilities may start with a few."""


class LossContract(Guard):
    """A guard against a loss that is not a finite scalar, depends on no parameter, is stuck, or diverges.

    It looks at every loss that is passed to backward. Under manual optimization, where losses may work against each
    other, a loss is judged neither for its sign nor for divergence, and is compared only with those computed in the
    same way. A loss that was negative or zero before may be so again, and one that has become negative gradually, such
    as a negative log-likelihood of a density, is not judged.

    Args:
        repeats: Equal losses in a row that count as stuck from the first batch on; four times as many later.
        spike: How many times the highest of the last thirty losses a spike has to be.
        above_start: How many times the highest of the first losses a spike or a diverging loss has to be.
        run: Losses in a row above that for a divergence.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-finite": "a loss is NaN or infinite",
        "no-parameter": "a loss does not depend on any parameter",
        "not-scalar": "a loss has more than one element",
        "wrong-sign": "the negative of an error is minimized",
        "zero": "the loss is exactly zero from the first batch on",
        "turned-negative": "a loss that was never negative is far below zero",
        "stuck": "the loss has the same value for several batches",
        "spike": "the loss jumps far above all values before",
        "diverges": "the loss stays far above its first values",
    }
    causes = {
        "not-finite": "loss, not finite, nan, inf, zero, batch",
        "no-parameter": "loss, constant, no parameter, gradient, requires_grad, change, training_step, tensor, none",
        "not-scalar": "loss, scalar, shape, reduced, mean, none",
        "wrong-sign": "loss, sign, negated, negative, increases, minimized",
        "zero": "loss, zero, empty mask",
        "turned-negative": "loss, negative, sign, changed, negated",
        "stuck": "loss, constant, parameters change",
        "spike": "loss, spike, size, update, weights changed, batch",
        "diverges": "loss, diverges, increases, too large, learning rate, sign, negated, gradients, batch",
    }

    def __init__(
        self,
        repeats: int = 5,
        spike: float = 20.0,
        above_start: float = 4.0,
        run: int = 4,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.repeats = repeats
        self.spike = spike
        self.above_start = above_start
        self.run = run
        self._forget()

    def _forget(self) -> None:
        self._courses: dict[tuple[int, str], _Course] = {}
        self._which = self._writes = 0
        self._own_way = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._which = 0
        self._writes = parameter_samples.writes(pl_module) if self._own_way else 0

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._own_way = parameter_samples.has_own_way(pl_module)

    @pace.unusual
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        if not pace.due(trainer) and is_finite(loss):
            self._which += 1
            return
        # Under manual optimization the first, second, ... loss of a batch are losses of different kinds.
        which, self._which = (self._which, "" if automatic(pl_module) else _made_of(loss)), self._which + 1
        if not isinstance(loss, torch.Tensor) or loss.is_complex():
            return
        if loss.numel() != 1:
            self._findings.say(
                self, [("not-scalar", f"the loss has the shape {tuple(loss.shape)} and is not a scalar", _REDUCE)]
            )
            return
        value = float(loss.detach())
        if math.isfinite(value) and not pace.due(trainer):
            return
        findings: list[Finding] = []
        if not math.isfinite(value) and not trainer.is_scaled:
            findings.append(
                (
                    "not-finite",
                    f"the loss is {value}, which is not finite, at step {getattr(trainer, 'global_step', '?')}",
                    "Look at this batch for NaN and inf, and at logarithms, roots and divisions of values that may "
                    "be zero.",
                )
            )
        # A placeholder is a round number that repeats.
        suspect = value - value != 0 or value == int(value) or not self._courses.get(which)
        # A module that has taken its step by itself may only report the loss.
        reported = self._own_way and parameter_samples.writes(pl_module) != self._writes
        if suspect and not reported and _hangs_on_nothing(loss):
            findings.append(
                (
                    "no-parameter",
                    f"the loss of {value:.4g} is a constant that depends on no parameter: no parameter gets a "
                    "gradient or will change",
                    self.terms.either("Return the loss itself from training_step", "Call backward() on the loss itself")
                    + ", not a fresh tensor with requires_grad=True.",
                )
            )
        if value < 0 and automatic(pl_module) and _is_negated_error(loss):
            findings.append(
                (
                    "wrong-sign",
                    f"the loss is {value:.4g}, though it is computed from an error that is never negative: its sign "
                    "is wrong, and minimizing it increases the error",
                    "Remove the minus before the loss.",
                )
            )
        if math.isfinite(value):
            course = self._courses.setdefault(which, _Course())
            findings += self._judge(course, value, automatic(pl_module), trainer.is_scaled)
            course.add(value)
        self._findings.say(self, findings)

    def _judge(self, course: _Course, value: float, alone: bool, scale_moves: bool) -> list[Finding]:
        findings: list[Finding] = []
        same = course.repeats + 1 if value == course.latest else 1
        if value == 0 and not course.seen_nonzero and course.count:
            findings.append(("zero", "the loss is exactly zero, and has been from the first batch on", _MASKED))
        elif value and same >= (self.repeats if course.count < same else 4 * self.repeats):
            findings.append(
                (
                    "stuck",
                    f"the loss was exactly {value:.6g} for {same} batches in a row: it is constant, whatever the batch",
                    "Compute it from this batch, and check that the parameters change.",
                )
            )
        course.cross(value)
        if scale_moves or not (course.positive or course.leapt) or course.count < 5:
            return findings
        start, recent = course.start, max(course.recent)
        if value > self.spike * recent and value > self.above_start * start:
            findings.append(
                (
                    "spike",
                    f"the loss jumped to {value:.4g}, a spike: the highest of the {len(course.recent)} losses before "
                    f"was {recent:.4g}",
                    "Look at this batch, at the size of the last update, and at changes of the weights or the loss.",
                )
            )
        lately = [*[*course.recent][len(course.recent) - self.run + 1 :], value]
        if alone and course.count >= 5 + self.run and min(lately) > self.above_start * start:
            findings.append(
                (
                    "diverges",
                    f"the loss diverges: it was above {min(lately):.4g} for {self.run} batches, but {start:.4g} at "
                    "most in the first ones",
                    "Check whether the learning rate is too large, or whether the loss or the gradients have the "
                    "wrong sign, so that it increases.",
                )
            )
        if course.leapt and alone and value < -self.above_start * start:
            findings.append(
                (
                    "turned-negative",
                    f"the loss is {value:.4g}, though it was never negative in the first {course.leapt} batches",
                    "Check whether it changed its sign, and whether it has a lower bound.",
                )
            )
        return findings


_REDUCE = "Reduce it by mean() or sum(); with reduction='none' there is one loss for each sample."
_MASKED = "Check whether it is multiplied by zero, or whether its mask is empty."


class _Course:
    """The history of the losses of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.repeats = 0
        self.start = 0.0
        self.latest: float | None = None
        self.positive = True
        self.leapt = 0
        self.seen_nonzero = False
        self.recent: deque[float] = deque(maxlen=30)

    def cross(self, value: float) -> None:
        """Record after how many batches the loss has jumped from well above zero to well below."""
        if self.positive and value < 0 < (self.latest or 0) and self.count >= _SIGNED:
            self.leapt = self.count if min(-value, self.latest or 0) > 0.1 * self.start else 0

    def add(self, value: float) -> None:
        self.count += 1
        if self.count <= 5:
            self.start = max(self.start, value)
        self.repeats = self.repeats + 1 if value == self.latest else 1
        self.latest = value
        self.positive = self.positive and value > 0
        self.seen_nonzero = self.seen_nonzero or value != 0
        self.recent.append(value)


def _made_of(loss: Any) -> str:
    """Return the last functions of a loss, since in alternate epochs the first loss may be another network's."""
    names: list[str] = []
    node = getattr(loss, "grad_fn", None)
    while node is not None and len(names) < 6:
        names.append(node.name())
        node = next(_parents(node), None)
    return " ".join(names)


def _parents(node: Any) -> Iterator[Any]:
    return (parent for parent, _ in node.next_functions if parent is not None)


def _hangs_on_nothing(loss: torch.Tensor) -> bool:
    """Return whether the graph is small, has no custom functions, and ends in no parameter."""
    if loss.grad_fn is None:
        return loss.requires_grad and not isinstance(loss, torch.nn.Parameter)
    waiting: list[Any] = [loss.grad_fn]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _FEW_NODES or isinstance(getattr(node, "variable", None), torch.nn.Parameter):
            return False
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            # A custom function, or a checkpoint, hides the graph behind it.
            return False
        waiting.extend(_parents(node))
    return True


def _is_negated_error(loss: torch.Tensor) -> bool:
    """Return whether a loss is computed only by scaling and adding squared errors or cross-entropies."""
    waiting: list[Any] = [loss.grad_fn]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if node is None or seen > _FEW_NODES:
            return False
        name = node.name()
        if name.startswith("NllLoss"):
            if not all(parent.name().startswith("LogSoftmax") for parent in _parents(node)):
                return False
        elif not name.startswith(_NEVER_NEGATIVE):
            parents = [*_parents(node)]
            if not name.startswith(_TRANSPARENT) or not parents:
                return False
            waiting.extend(parents)
    return seen > 0

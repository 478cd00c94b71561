"""The gradients that optimizers step on exist, are finite, of a sane size, and new."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch

from faultlab.guards.findings import Findings
from faultlab.guards.guard import Action, Guard
from faultlab.guards.looks import Finding, array_of, flat, names_of, parameters_of, plain, scaled, skips_backward, some

_WHOLE = 16_384
_SAMPLED = 4_096
_FEW = 128


class Gradients(Guard):
    """Notices gradients that are missing, zero, not finite, exploding, vanishing, crushed, or those of the step before.

    It looks before each optimizer's step, at every value of gradients up to 16,384 and at a sample of larger ones.
    Parameters whose gradient is None now and then are let pass; a first layer without one for ``patience`` steps,
    or one that lost it together with all others, is not. A gradient explodes if its norm is ``explosion`` times the
    median of the last thirty, and vanishes if it is below ``vanished`` or that median by ``collapse``.
    ``along_weights`` is the cosine between gradients and weights from which on a penalty on the weights is what is
    minimised.
    """

    checks = {
        "not-finite": "a gradient is NaN or infinite",
        "missing": "no parameter, or no parameter of the first layers, has a gradient",
        "zero": "every gradient is zero",
        "layer-zero": "the gradient of a layer is zero for several steps",
        "explodes": "the norm of the gradients leaps",
        "vanishes": "the norm of the gradients is next to nothing",
        "crushed": "the norm of the gradients is clipped to the same tiny number at every step",
        "stale": "the gradients are those of the previous step",
        "along-weights": "the gradients do little else but shrink the weights",
    }

    def __init__(
        self,
        patience: int = 3,
        explosion: float = 100.0,
        vanished: float = 1e-7,
        collapse: float = 1e-5,
        crushed: float = 5e-3,
        along_weights: float = 0.6,
        *,
        action: Action = "raise",
    ) -> None:
        super().__init__(action=action)
        self._findings = Findings()
        self.patience = patience
        self.explosion = explosion
        self.vanished = vanished
        self.collapse = collapse
        self.crushed = crushed
        self.along_weights = along_weights
        self._courses: dict[int, _Course] = {}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._findings.clear()
        self._courses.clear()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        held = [p for p in parameters_of(optimizer) if p.requires_grad]
        if not held:
            return
        course = self._courses.setdefault(id(optimizer), _Course())
        course.steps += 1
        graded = [p for p in held if p.grad is not None]
        kind = type(optimizer).__name__
        if not graded:
            if skips_backward(trainer):
                return
            self._findings.say(
                self, [("missing", f"no parameter of {kind} has a gradient, so that none of them changes", _PATH)]
            )
            return
        seen = [p for p in graded if plain(p.grad)]
        values, starts = _values(seen)
        if values is None:
            return
        with np.errstate(all="ignore"):
            squares = np.add.reduceat(np.square(values, dtype=np.float64), starts)
            norm = float(squares.sum() ** 0.5)
        if norm - norm != 0.0:
            if not scaled(trainer):
                named = names_of(pl_module)
                bad = [named.get(id(p), "?") for p, square in zip(seen, squares) if not np.isfinite(square)]
                self._findings.say(
                    self, [("not-finite", f"the gradient of {some(bad)} is NaN or inf, which is not finite", _BATCH)]
                )
            return
        findings = self._sizes(course, norm, kind)
        findings += self._layers(course, held, seen, squares, pl_module)
        if norm and course.squares is not None and np.array_equal(squares, course.squares) and _moves(optimizer):
            findings.append(
                (
                    "stale",
                    f"the gradients of {kind} are to the bit the same gradients as those of the previous step",
                    "Is backward run before step, on the loss of this batch, with its gradients kept nowhere else?",
                )
            )
        course.squares = squares
        if course.steps <= 4 or course.steps % 16 == 0:
            findings += self._direction(course, seen, values, norm)
        self._findings.say(self, findings)

    def _sizes(self, course: _Course, norm: float, kind: str) -> list[Finding]:
        findings: list[Finding] = []
        usual = float(np.median(course.norms)) if len(course.norms) >= 5 else 0.0
        if norm == 0:
            if course.zeros or course.steps == 1:
                findings.append(("zero", f"every gradient of {kind} is exactly zero: nothing is learnt", _PATH))
            course.zeros += 1
            return findings
        course.zeros = 0
        if usual and norm > self.explosion * usual:
            findings.append(
                (
                    "explodes",
                    f"the gradient norm is {norm:.3g}, a spike: its median was {usual:.3g}, so that it explodes",
                    "Look at this batch, and set gradient_clip_val.",
                )
            )
        if norm < self.vanished or norm < self.collapse * usual:
            findings.append(
                (
                    "vanishes",
                    f"the gradient norm is {norm:.3g}, which is all but zero: the gradients of {kind} vanish"
                    + (f", their median was {usual:.3g}" if usual else ""),
                    "Look at saturated activations, at what multiplies the loss, and at the norms layer by layer.",
                )
            )
        course.norms.append(norm)
        last = [*course.norms][-4:]
        if len(last) == 4 and max(last) < self.crushed and max(last) - min(last) < 1e-3 * max(last):
            findings.append(
                (
                    "crushed",
                    f"the gradient norm was {norm:.3g} at each of four steps: gradients are clipped far too small",
                    "Set gradient_clip_val to what the norm rarely exceeds; clipping that always acts is a crushing.",
                )
            )
        return findings

    def _layers(self, course: _Course, held: list[Any], seen: list[Any], squares: Any, module: Any) -> list[Finding]:
        """Weights, in order, that have no gradient, or one of zero, at every one of the last steps."""
        some_zero = bool((squares == 0).any())
        if not some_zero and len(seen) == len(held):
            course.idle.clear()
            return []
        alive = {id(p) for p, square in zip(seen, squares) if square > 0}
        graded = {id(p) for p in seen}
        idle = [p for p in held if p.dim() > 1 and id(p) not in alive and (id(p) in graded or p.grad is None)]
        course.ever |= alive
        course.idle = {id(p): course.idle.get(id(p), 0) + 1 for p in idle}
        weights = [p for p in held if p.dim() > 1]
        dead = [p for p in idle if course.idle[id(p)] >= self.patience]
        # A head of a task that a batch may lack, or a part that is not used yet, is no reason for an alarm.
        if not dead or dead[0] is not weights[0]:
            return []
        named = names_of(module)
        of_none = [p for p in dead if p.grad is None]
        said = some(named.get(id(p), "?") for p in (of_none or dead))
        if of_none and len(of_none) < len(dead):
            of_none = []
        if of_none:
            return [("missing", f"{said} had no gradient in {self.patience} steps and did not change", _PATH)]
        return [
            (
                "layer-zero",
                f"the gradient of {said} was exactly zero in {self.patience} steps: vanished, as if dead",
                _DEAD,
            )
        ]

    def _direction(self, course: _Course, seen: list[Any], values: Any, norm: float) -> list[Finding]:
        weights, _ = _values(seen, of_gradients=False)
        if weights is None or len(weights) != len(values) or len(values) < _FEW:
            return []
        size = float(np.linalg.norm(weights))
        with np.errstate(all="ignore"):
            along = float(np.dot(weights, values)) / (size * norm) if size and norm else 0.0
        course.along = course.along + 1 if along > self.along_weights else 0
        if course.along < self.patience:
            return []
        return [
            (
                "along-weights",
                f"gradients and weights point the same way (cosine {along:.2f}): a penalty on the weight norm, or "
                "weight decay, dominates and shrinks them",
                "Lower the weight of the regularisation; log the loss of the data and the penalty apart.",
            )
        ]


_PATH = "Was backward called, and is nothing between loss and parameters detached, frozen or multiplied by zero?"
_BATCH = "Look at this batch, and at roots, logarithms and divisions near zero; skip the step if they are not finite."
_DEAD = "Look for dead ReLUs, total dropout, masks that are never true, and activations that saturate behind it."


class _Course:
    """What the gradients of one optimizer were so far."""

    def __init__(self) -> None:
        self.steps = 0
        self.zeros = 0
        self.along = 0
        self.norms: deque[float] = deque(maxlen=30)
        self.squares: Any = None
        self.idle: dict[int, int] = {}
        self.ever: set[int] = set()


def _moves(optimizer: Any) -> bool:
    return any(group.get("lr", 1) != 0 for group in optimizer.param_groups)


def _values(parameters: list[Any], of_gradients: bool = True) -> tuple[Any, Any]:
    """The values of gradients, or of the parameters at the same places, one after the other, and where each begins."""
    rows: list[torch.Tensor] = []
    for parameter in parameters:
        like = parameter.grad
        tensor = like if of_gradients else parameter.detach()
        if like.numel() > _WHOLE:
            row = flat(tensor) if tensor.stride() == like.stride() else None
            row = tensor.reshape(-1) if row is None else row
            tensor = row[:: -(-len(row) // _SAMPLED)]
        elif not like.is_contiguous():
            tensor = tensor.reshape(-1)
        rows.append(tensor)
    if not rows or len({row.device for row in rows}) > 1:
        return None, None
    starts = np.cumsum([0, *(row.numel() for row in rows)])[:-1]
    return array_of(rows), starts

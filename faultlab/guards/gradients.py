"""The guard that checks that gradients exist, are finite, have a plausible size, and are new in each step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import (
    Finding,
    automatic,
    flat,
    local,
    names_of,
    optimizers_of,
    parameters_of,
    plain,
    some,
)
from faultlab.guards.support.training_view import TrainingView

_WHOLE = 16_384
_SAMPLED = 4_096
_FEW = 128
_FADED = 1e-4
_PLACEHOLDER = 2


class Gradients(Guard):
    """A guard against gradients that are missing, zero, not finite, exploding, vanishing, clipped to nothing, or stale.

    It looks before steps of an optimizer: each of the first 64, later ever fewer. Gradients of up to 16,384 values
    are read in full, larger ones are sampled. A parameter may lack a gradient now and then, but not the first layer,
    and not all parameters at once.

    Args:
        patience: Looks in a row that raise the alarm if the first layer has no gradient, or if gradients only shrink
            the weights.
        explosion: How many times the median of the last thirty norms a norm has to be for an explosion.
        vanished: The norm that a training has to exceed once for its gradients not to count as vanished.
        collapse: The share of the median of the last thirty norms below which gradients vanish.
        crushed: The norm below which equal norms in four steps in a row count as clipped far too small.
        along_weights: The cosine between gradients and weights, from -1 to 1, above which a penalty on the weights
            dominates.
        rests: Steps in a row without gradients that an optimizer may take under manual optimization, while another one
            learns.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-finite": "a gradient is NaN or infinite",
        "missing": "no parameter, or no parameter of the first layers, has a gradient",
        "zero": "every gradient is zero",
        "layer-zero": "the gradient of a layer is zero for several steps",
        "explodes": "the norm of the gradients jumps",
        "vanishes": "the norm of the gradients is nearly zero",
        "crushed": "the norm of the gradients is clipped to the same tiny number at every step",
        "stale": "the gradients are those of the previous step",
        "along-weights": "the gradients mainly shrink the weights",
    }
    causes = {
        "not-finite": "not finite, nan, inf, zero, batch, skip",
        "missing": "no gradient, no grad, none, no parameter, did not change, frozen, detached, backward, loss, zero",
        "zero": "zero, gradient, frozen, detached, backward, loss, parameters",
        "layer-zero": "zero, gradient, vanish, dead, relu, saturated, activation, dropout",
        "explodes": "gradient norm, explodes, spike, clip, batch",
        "vanishes": "gradient norm, vanish, zero, saturated, activation, layer, loss",
        "crushed": "gradient norm, clipped, too small",
        "stale": "same gradients, previous step, backward, loss",
        "along-weights": "weight norm, shrink, weight decay, regularization, penalty, norm, gradient, loss, same",
    }

    def __init__(
        self,
        patience: int = 3,
        explosion: float = 100.0,
        vanished: float = 1e-7,
        collapse: float = 1e-5,
        crushed: float = 5e-3,
        along_weights: float = 0.6,
        rests: int = 16,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.patience = patience
        self.explosion = explosion
        self.vanished = vanished
        self.collapse = collapse
        self.crushed = crushed
        self.along_weights = along_weights
        self.rests = rests
        self._courses: dict[int, _Course] = {}
        self._loss: torch.Tensor | None = None
        self._backwards = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._courses.clear()
        self._backwards = 0

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._backwards += 1
        if pace.due(trainer):
            self._loss = loss.detach() if isinstance(loss, torch.Tensor) else None

    @pace.sparse
    def on_before_optimizer_step(self, trainer: TrainingView, pl_module: Any, optimizer: Any) -> None:
        course = self._courses.get(id(optimizer))
        if not pace.due(trainer):
            if course is not None:
                course.latest = [], []
            return
        if course is None or course.steps % 50 == 0:
            held = [p for p in parameters_of(optimizer) if p.requires_grad]
            course = self._courses.setdefault(id(optimizer), _Course())
            course.held, course.readable = held, {id(p) for p in held if plain(local(p))}
            course.whole = all(local(p) is p for p in held)
        if not course.held:
            return
        course.steps += 1
        course.evaluate(trainer.global_step, self._backwards)
        pairs = [(p, gradient) for p in course.held if (gradient := p.grad) is not None]
        kind = type(optimizer).__name__
        if not pairs:
            if not trainer.skips_backward and not self._may_rest(course, trainer, pl_module):
                missing = f"no parameter of {kind} has a gradient, so that none of them changes"
                self._findings.say(self, [("missing", missing, _PATH)])
            return
        readable = [(local(p), local(gradient)) for p, gradient in pairs if id(p) in course.readable]
        seen = [(p, gradient) for p, gradient in readable if not gradient.is_sparse]
        if not seen:
            self.skip("the gradients are sparse, or can't be read")
            return
        self.looked += 1
        norms = _norms([gradient for _, gradient in seen])
        norm = math.hypot(*norms)
        if norm - norm != 0.0:
            if not trainer.is_scaled:
                named = names_of(pl_module)
                bad = [named.get(id(p), "?") for (p, _), own in zip(seen, norms) if not math.isfinite(own)]
                message = f"the gradient of {some(bad)} is not finite: it contains NaN or inf"
                self._findings.say(self, [("not-finite", message, _BATCH)])
            return
        course.resting = course.resting if norm == 0 else 0
        findings = [] if norm == 0 and self._may_rest(course, trainer, pl_module) else self._sizes(course, norm, kind)
        # The part of a layer that this rank holds may well be one that no sample needs.
        if norm and course.whole and (0.0 in norms or len(seen) < len(course.held)):
            findings += self._layers(course, seen, norms, pl_module)
        else:
            course.idle.clear()
        # Clipping makes the norm of a single gradient the same in every step, and those of all that are clipped apart.
        sums = [] if len(set(norms)) > 1 else [_weighted_sum(gradient) for _, gradient in seen]
        if (
            norm
            and (norms, sums) == course.latest
            and not course.evaluates
            and any(group.get("lr", 1) != 0 for group in optimizer.param_groups)
        ):
            findings.append(
                (
                    "stale",
                    f"the gradients of {kind} are exactly the same gradients as in the previous step",
                    "Call backward before each step, on the loss of this batch, and don't restore gradients from "
                    "elsewhere.",
                )
            )
        course.latest = norms, sums
        if course.steps <= 4 or course.steps % 16 == 0:
            findings += self._direction(course, seen)
        if findings:
            self._findings.say(self, findings)

    def _may_rest(self, course: _Course, trainer: TrainingView, module: Any) -> bool:
        """Return whether an optimizer without gradients may wait for its turn while another one learns."""
        if len(course.held) == 1 and course.held[0].numel() == 1 and len([*module.parameters()]) > _PLACEHOLDER:
            return True  # a placeholder, so that the Trainer has an optimizer
        course.alive = False
        course.resting += 1
        if automatic(module) or course.resting > self.rests:
            return False
        mine = {id(p) for p in course.held}
        others = [p for other in optimizers_of(trainer) for p in parameters_of(other) if id(p) not in mine]
        # For the optimizer that is stepped first, gradients of others that await their step show that it is their turn.
        waiting = any(p.grad is not None and (p.grad.is_sparse or bool(local(p.grad).any())) for p in others)
        return waiting or any(other.alive for other in self._courses.values())

    def _loss_left(self) -> bool:
        return self._loss is None or self._loss.numel() != 1 or float(self._loss) != 0

    def _sizes(self, course: _Course, norm: float, kind: str) -> list[Finding]:
        findings: list[Finding] = []
        usual = sorted(course.norms)[len(course.norms) // 2] if len(course.norms) >= 5 else 0.0
        if norm == 0:
            # With a loss of zero nothing is left to learn.
            if (course.zeros or course.steps == 1) and (not course.highest or self._loss_left()):
                findings.append(("zero", f"every gradient of {kind} is exactly zero: nothing is learned", _PATH))
            course.zeros += 1
            return findings
        course.zeros = 0
        if usual and norm > self.explosion * usual:
            findings.append(
                (
                    "explodes",
                    f"the gradient norm explodes: it is {norm:.3g}, a spike above its median of {usual:.3g}",
                    "Look at this batch, and clip the gradients (gradient_clip_val).",
                )
            )
        course.alive = True
        course.highest = max(course.highest, norm)
        # Gradients that fade gradually are those of a training that converges.
        if course.highest < self.vanished or _FADED * course.highest < usual > norm / self.collapse:
            findings.append(
                (
                    "vanishes",
                    f"the gradients of {kind} vanish: the gradient norm is {norm:.3g}, which is nearly zero"
                    + (f", after a median of {usual:.3g}" if usual else ""),
                    "Look at saturated activations, at factors of the loss, and at the norms of the layers.",
                )
            )
        course.norms.append(norm)
        if norm < self.crushed and len(course.norms) > 3 and _steady([*course.norms][-4:]):
            findings.append(
                (
                    "crushed",
                    f"the gradient norm was {norm:.3g} in each of four steps: gradients are clipped to a norm that is "
                    "far too small",
                    "Clip the gradients (gradient_clip_val) to a norm that is rarely exceeded.",
                )
            )
        return findings

    def _layers(self, course: _Course, seen: list[Any], norms: list[float], module: Any) -> list[Finding]:
        """Return findings if the first weights had no gradient, or a zero one, in each of the last steps."""
        held, readable = course.held, {id(p) for p, _ in seen}
        alive = {id(p) for (p, _), norm in zip(seen, norms) if norm > 0}
        idle = [p for p in held if p.dim() > 1 and id(p) not in alive and (id(p) in readable or p.grad is None)]
        course.idle = {id(p): course.idle.get(id(p), 0) + 1 for p in idle}
        weights = [p for p in held if p.dim() > 1]
        dead = [p for p in idle if course.idle[id(p)] >= self.patience]
        # The head of a task that a batch may lack, or a part that is not used yet, does not raise an alarm.
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
                f"the gradient of {said} was exactly zero in {self.patience} steps: it vanished, as if a layer were "
                "dead",
                _DEAD,
            )
        ]

    def _direction(self, course: _Course, seen: list[Any]) -> list[Finding]:
        products = own = others = 0.0
        count = 0
        for parameter, gradient in seen:
            if parameter.numel() > _WHOLE or gradient.dtype != parameter.dtype:
                continue
            weight, slope = parameter.detach().reshape(-1), gradient.reshape(-1)
            products += float(torch.dot(weight, slope))
            own += float(torch.dot(weight, weight))
            others += float(torch.dot(slope, slope))
            count += len(weight)
        if count < _FEW or not own * others > 0 or not math.isfinite(own * others):
            return []
        along = products / math.sqrt(own * others)
        course.along = course.along + 1 if along > self.along_weights else 0
        if course.along < self.patience:
            return []
        return [
            (
                "along-weights",
                f"gradients and weights point in the same direction (cosine {along:.2f}): a penalty on the weight "
                "norm, or weight decay, dominates and shrinks the weights",
                "Reduce the weight of the regularization, and log the loss of the data and the penalty separately.",
            )
        ]


_PATH = (
    "Call backward, and look for something between the loss and the parameters that is detached, frozen or "
    "multiplied by zero."
)
_BATCH = (
    "Look at this batch, and at roots, logarithms and divisions near zero. Skip the step if gradients are not finite."
)
_DEAD = "Look for dead ReLUs, dropout of everything, masks that are never true, and saturated activations behind it."


class _Course:
    """The history of the gradients of one optimizer."""

    def __init__(self) -> None:
        self.steps = self.zeros = self.along = self.resting = 0
        self.alive = self.evaluates = False
        self.whole = True
        self._evaluated = -1, 0
        self.highest = 0.0
        self.norms: deque[float] = deque(maxlen=30)
        self.latest: tuple[list[float], list[float]] = [], []
        self.held: list[Any] = []
        self.readable: set[int] = set()
        self.idle: dict[int, int] = {}

    def evaluate(self, step: int, backwards: int) -> None:
        """Record whether one step of the optimizer evaluates the loss several times, as a line search does.

        The first evaluation is that of the last point of the step before.
        """
        latest, before = self._evaluated
        self.evaluates |= step == latest and backwards > before
        self._evaluated = step, backwards


def _norms(gradients: list[torch.Tensor]) -> list[float]:
    """Return the norm of each gradient, of a sample for large ones."""
    rows = [_sampled(gradient) if gradient.numel() > _WHOLE else gradient for gradient in gradients]
    if rows[0].dtype is torch.float16:
        # Squares of half-precision numbers overflow.
        rows = [row.float() for row in rows]
    norms = torch._foreach_norm(rows)
    if len({norm.device for norm in norms}) > 1:
        return [norm.item() for norm in norms]
    # A single transfer from an accelerator, since each one synchronizes.
    found: list[float] = torch.stack(norms).tolist()
    return found


def _sampled(gradient: torch.Tensor) -> torch.Tensor:
    row = flat(gradient)
    row = gradient.reshape(-1) if row is None else row
    return row[:: -(-len(row) // _SAMPLED)]


def _weighted_sum(gradient: torch.Tensor) -> float:
    """Return a sum that differs for gradients of one norm: values of softmax cancel out without weights."""
    row = _sampled(gradient).float()
    return torch.dot(row, torch.arange(1.0, len(row) + 1, device=row.device).sqrt()).item()


def _steady(norms: list[float]) -> bool:
    return max(norms) - min(norms) < 1e-3 * max(norms)

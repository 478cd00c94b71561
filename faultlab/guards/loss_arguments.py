"""The guard that checks that torch's loss functions are given what they are defined for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import loss_calls, pace
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.loss_calls import LossCall
from faultlab.guards.support.parameter_samples import Finding
from faultlab.guards.support.recorded_functions import origin
from faultlab.guards.support.training_view import TrainingView

_ENOUGH = 8
_OF_SIGNS = ("soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss", "cosine_embedding_loss")
_LOGITS = ("Addmm", "Mm", "Bmm", "Addbmm", "Linear", "Convolution")
_RATES = ("Exp", "Softplus")
_CLOSE = 1e-3


class LossArguments(Guard):
    """A guard against losses of values that they are not defined for, which torch computes without a word.

    It looks at the first calls of functions and modules of `torch.nn` in training batches. `kl_div`, `nll_loss`,
    `ctc_loss` and `poisson_nll_loss` take logarithms, `nll_loss` and `ctc_loss` those of probabilities that add up to
    one over the classes. `cross_entropy` takes logits. `binary_cross_entropy_with_logits` takes targets from 0 to 1,
    losses by margin the targets 1 and -1.

    Losses that are masked or weighted, whatever their targets are, may hold any value where they do not count, and
    their targets are not judged. Within compiled functions the guard sees nothing.

    Args:
        patience: Calls of a function in a row that have to be alike to raise the alarm.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "backward"
    checks = {
        "logarithms": "a loss that takes logarithms is given something else",
        "wrong-dimension": "a loss over classes is given logarithms that are normalized over something else",
        "probabilities": "a loss that takes logits is given probabilities",
        "targets": "a loss of probabilities is given other classes than 0 and 1",
        "signs": "a loss by margin is given the targets 0 and 1 instead of -1 and 1",
    }
    causes = {
        "logarithms": "log_softmax, logarithm, probabilities, logits, loss",
        "wrong-dimension": "dimension, log_softmax, softmax, batch, classes, normalized, loss",
        "probabilities": "softmax, twice, double, probabilities, logits, loss",
        "targets": "labels, targets, classes, outside, range, loss",
        "signs": "labels, targets, sign, loss",
    }

    def __init__(self, patience: int = 2, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.patience = patience
        self._findings = Findings()
        self._forget()

    def _forget(self) -> None:
        self._calls: Counter[str] = Counter()
        self._alike: Counter[tuple[str, str]] = Counter()
        self._found: list[Finding] = []

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._forget()
        # From before the sanity check to the end: code is compiled again once a function that it calls is another one.
        loss_calls.CALLS.leave(self._called)
        loss_calls.CALLS.observe(self._called)

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        loss_calls.CALLS.leave(self._called)

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        loss_calls.CALLS.leave(self._called)

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        found, self._found = self._found, []
        if found:
            self._findings.say(self, found)

    def _called(self, call: LossCall) -> None:
        if self._calls[call.name] >= _ENOUGH or not call.is_trained_on or call.input.numel() < 4:
            return
        try:
            self._calls[call.name] += 1
            self.looked += 1
            with torch.no_grad():
                found = {finding[0]: finding for finding in _judged(call)}
            for check in self.checks:
                key = call.name, check
                self._alike[key] = self._alike[key] + 1 if check in found else 0
                if self._alike[key] == self.patience:
                    self._found.append(found[check])
        except Exception as error:
            self._mistake(error)


def _judged(call: LossCall) -> Iterator[Finding]:
    given = call.input.detach()
    if call.name == "kl_div":
        yield from _divergence(given, call.arguments)
    elif call.name in ("nll_loss", "ctc_loss"):
        yield from _likelihood(call, given, 1 if call.name == "nll_loss" and given.dim() > 1 else -1)
    elif call.name == "cross_entropy" and given.dim() > 1:
        if _are_probabilities(given, 1):
            yield (
                "probabilities",
                "cross_entropy takes logits and is given probabilities, which add up to one: it normalizes them again, "
                "so that scores of all classes stay alike and gradients are weak",
                "Pass the logits, or the logarithms of probabilities to nll_loss.",
            )
    elif call.name == "poisson_nll_loss":
        if call.arguments.get("log_input") and origin(call.input).startswith(_RATES):
            yield (
                "logarithms",
                f"poisson_nll_loss takes the logarithm of a rate and is given the output of {origin(call.input)}",
                "Pass the value before it, or set log_input=False.",
            )
    else:
        yield from _of_targets(call)


def _divergence(given: Tensor, arguments: Any) -> Iterator[Finding]:
    target, logarithmic = arguments.get("target"), bool(arguments.get("log_target"))
    if any(_are_probabilities(given, dim) for dim in {1 % max(1, given.dim()), given.dim() - 1}):
        yield (
            "logarithms",
            "kl_div takes the logarithms of predicted probabilities and is given the probabilities themselves: the "
            "result can become negative then",
            "Pass log_softmax of the predictions instead of softmax.",
        )
    elif logarithmic and isinstance(target, Tensor) and _are_probabilities(target, target.dim() - 1):
        yield (
            "logarithms",
            "kl_div with log_target=True takes the logarithms of target probabilities and is given the probabilities",
            "Pass their logarithms, or leave log_target at False.",
        )


def _likelihood(call: LossCall, given: Tensor, classes: int) -> Iterator[Finding]:
    total = given.float().logsumexp(classes).exp()
    if given.shape[classes] < 2 or _are_ones(total, 0.05):
        return
    if _are_probabilities(given, classes):
        yield (
            "logarithms",
            f"{call.name} takes the logarithms of probabilities and is given the probabilities themselves: its "
            "gradients do not depend on how wrong they are",
            "Pass log_softmax instead of softmax, or logits to cross_entropy.",
        )
        return
    others = [dim for dim in range(given.dim()) if dim != classes % given.dim() and given.shape[dim] > 1]
    for dim in others:
        if _are_ones(given.float().logsumexp(dim).exp(), _CLOSE):
            yield (
                "wrong-dimension",
                f"{call.name} takes logarithms of probabilities that add up to one over the classes (dimension "
                f"{classes % given.dim()} of {tuple(given.shape)}), and is given those that do over dimension {dim}",
                f"Apply log_softmax over the classes: dim={classes}.",
            )
            return
    if (kind := origin(call.input)).startswith(_LOGITS):
        yield (
            "logarithms",
            f"{call.name} takes the logarithms of probabilities and is given the output of a layer ({kind}): their "
            "exponentials do not add up to one, so that the loss has no lower bound",
            "Apply log_softmax first, or use a loss that takes logits, such as cross_entropy.",
        )


def _of_targets(call: LossCall) -> Iterator[Finding]:
    target = call.arguments.get("target")
    if not isinstance(target, Tensor) or not call.is_reduced or call.arguments.get("weight") is not None:
        return
    values = set(target.detach().flatten()[:4096].tolist())
    if call.name in _OF_SIGNS:
        if values == {0, 1}:
            yield (
                "signs",
                f"{call.name} takes the targets 1 and -1 and is given 1 and 0: the loss of samples with 0 does not "
                "depend on them as meant",
                "Pass 2 * target - 1.",
            )
    elif all(float(value).is_integer() for value in values) and (outside := sorted(values - {0, 1})):
        shown = ", ".join(f"{value:g}" for value in outside[:3])
        yield (
            "targets",
            f"{call.name} takes targets from 0 to 1 and is given {shown}: the loss of these samples has no lower "
            "bound, or they count as another class",
            "Encode the classes as 0 and 1, or leave out samples without a label.",
        )


def _are_probabilities(values: Tensor, dim: int) -> bool:
    """Return whether values lie between 0 and 1, are not all the same, and add up to one over a dimension."""
    if not values.is_floating_point() or values.dim() < 1 or values.shape[dim] < 2:
        return False
    low, high = torch.aminmax(values)
    if not 0 <= float(low) < float(high) <= 1 + _CLOSE:
        return False
    return _are_ones(values.float().sum(dim), _CLOSE if values.dtype == torch.float32 else 0.02)


def _are_ones(values: Tensor, tolerance: float) -> bool:
    return bool(((values - 1).abs() <= tolerance).all())

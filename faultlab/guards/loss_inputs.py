"""The guard that checks what the loss is computed from, by the functions that autograd has recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, trainer_state
from faultlab.guards.support.recorded_functions import arranged
from faultlab.guards.support.training_view import TrainingView

_NODES = 400
"""The number of recorded functions, from the loss on, that are looked at."""
_NORMALIZED = ("SoftmaxBackward", "SigmoidBackward")
_DEVIATIONS = ("PowBackward", "AbsBackward", "MulBackward", "MseLoss", "SmoothL1Loss", "HuberLoss")
_REDUCTIONS = ("MeanBackward", "SumBackward", "MseLoss", "SmoothL1Loss", "HuberLoss")


class LossInputs(Guard):
    """A guard against probabilities in a loss that takes logits, and against residuals of each pair of samples.

    It looks at the first backward passes, at the functions that autograd has recorded for the loss. Within compiled
    functions it sees nothing.

    Args:
        looks: Backward passes to look at.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "backward"
    checks = {
        "normalized-twice": "probabilities are passed to a loss that takes logits",
        "pairwise": "the residuals of the loss are those of each pair of samples, by broadcasting",
    }
    causes = {
        "normalized-twice": "softmax, twice, double, probabilities, logits, loss",
        "pairwise": "broadcast, shape, targets, squeeze, loss, mean",
    }

    def __init__(self, looks: int = 4, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.looks = looks
        self._left = 0
        self._samples: int | None = None

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._left, self.dormant = self.looks, False

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._left > 0:
            self._samples = trainer_state.samples(batch)

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        root = getattr(loss, "grad_fn", None)
        if not isinstance(loss, Tensor) or root is None:
            return
        self.looked += 1
        recorded = list(_recorded(root))
        # With the differences of predictions from each other, as in an energy distance, the loss is one of pairs.
        shape = (self._samples, self._samples)
        of_pairs = any(_shape(node) == shape and _is_of_itself(node) for node, _ in recorded)
        for node, consumers in recorded:
            name = type(node).__name__
            if name.startswith(("LogSoftmaxBackward", "BinaryCrossEntropyWithLogitsBackward")):
                self._normalized(node, name)
            elif self._samples is not None and self._samples > 1 and not of_pairs:
                self._pairs(node, name, consumers, self._samples)

    def _normalized(self, node: Any, name: str) -> None:
        given = _origin(node)
        kind = type(given).__name__
        if given is None or not kind.startswith(_NORMALIZED):
            return
        takes_classes = name.startswith("LogSoftmax")
        if takes_classes and (not kind.startswith("Softmax") or _dim(node) != _dim(given)):
            return
        function = "softmax" if kind.startswith("Softmax") else "sigmoid"
        self.alarm(
            "normalized-twice",
            f"the loss is computed from the output of a {function}, but takes logits: it applies "
            f"{'log_softmax' if takes_classes else 'a sigmoid'} to these probabilities again, so that scores of all "
            "classes stay alike and gradients are weak",
            f"Pass the logits to the loss, and apply {function} only to predictions.",
        )

    def _pairs(self, node: Any, name: str, consumers: list[Any], samples: int) -> None:
        if not name.startswith(("SubBackward", "RsubBackward", "ExpandBackward")):
            return
        if _shape(node) != (samples, samples) or not _is_deviation(consumers):
            return
        operands = [given for given, _ in node.next_functions if given is not None]
        if len(operands) != 1 or (shape := _shape(operands[0])) not in ((samples, 1), (samples,)):
            return
        # A dimension that is added beforehand is meant for pairs.
        if type(operands[0]).__name__.startswith(("Unsqueeze", "View", "Reshape", "Index", "Permute", "TBackward")):
            return
        other = (samples,) if len(shape) == 2 else (samples, 1)
        self.alarm(
            "pairwise",
            f"predictions of shape {shape} are compared with targets of shape {other}, which broadcasts to "
            f"{(samples, samples)}: the loss is that of each prediction with the target of each sample, so that the "
            "mean is learned",
            "Give predictions and targets the same shape, such as with squeeze(1).",
        )


def _recorded(root: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the functions that the loss was computed with, nearest first, each with those between it and the loss."""
    waiting, seen = deque([(root, [])]), {root}  # type: deque[tuple[Any, list[Any]]], set[Any]
    while waiting and len(seen) < _NODES:
        node, consumers = waiting.popleft()
        yield node, consumers
        for given, _ in node.next_functions:
            if given is not None and given not in seen:
                seen.add(given)
                waiting.append((given, [node, *consumers[:3]]))


def _origin(node: Any) -> Any:
    """Return the function whose values a function gets, apart from their arrangement."""
    return arranged(node.next_functions[0][0] if node.next_functions else None)


def _is_of_itself(node: Any) -> bool:
    """Return whether a function subtracts values from the same ones in another arrangement."""
    given = [arranged(one) for one, _ in node.next_functions] if type(node).__name__.startswith("SubBackward") else []
    return len(given) == 2 and given[0] is given[1] is not None


def _is_deviation(consumers: list[Any]) -> bool:
    """Return whether each value is squared or the like, and all of them are reduced to one."""
    names = [type(node).__name__ for node in consumers[:2]]
    if not names or not names[0].startswith(_DEVIATIONS):
        return False
    reduced = names[0] if names[0].startswith(_REDUCTIONS) else names[-1] if len(names) > 1 else ""
    return reduced.startswith(_REDUCTIONS)


def _dim(node: Any) -> int | None:
    dim, shape = getattr(node, "_saved_dim", None), _shape(node)
    if not isinstance(dim, int):
        return None
    # Autograd keeps negative numbers as unsigned ones.
    dim = dim - 2**64 if dim >= 2**63 else dim
    return dim - len(shape) if dim >= 0 else dim


def _shape(node: Any) -> tuple[int, ...]:
    """Return the shape of what a function has computed, empty if that is unknown."""
    described = getattr(node, "_input_metadata", None)
    return tuple(described[0].shape) if described else ()

"""In the victim: torch functions that a loop calls with arguments which reveal a mistake."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from faultlab.core.user_code import UserCode
from faultlab.doctor.guesses import LOSSES
from faultlab.doctor.loops.averages import Averages
from faultlab.doctor.loops.tokens import Ahead
from faultlab.doctor.loss_inputs import LossInputs
from faultlab.doctor.whole.history import History

_SOFTMAX = ("softmax", "log_softmax")
_LARGEST = ("argmax", "max")
_OF_CLASSES = ("cross_entropy", "nll_loss")
_YES_OR_NO = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_SAMPLES, _VALUES = 1024, 4_000_000
_RESHAPES = ("view", "reshape")
_READ = ("item", "__float__", "__int__")
_OUTPUTS = 8
_ABOVE = ("gt", "__gt__", "ge", "__ge__", "lt", "__lt__", "le", "__le__", "round")


class Calls(LossInputs):
    """Records, while ``active``, what `LossInputs` does and more.

    ``over_batch`` has softmax and argmax over the samples of a batch, ``summed`` the losses that are summed and their
    batch sizes, ``ignored`` the value that a cross-entropy ignores and the share of targets with it, ``classes`` the
    first of its other targets, out of ``classified``, ``rectified`` the smallest share of zeros of each ReLU by the
    shape of its output, and ``pairs`` the inputs of the model with the targets of the loss. ``among_outputs`` has the
    losses of evaluations that compare outputs of models with each other, which those of the training don't, and
    ``thresholds`` has the place of an evaluation that compares an output beyond 0 and 1 with 0.5, and
    ``exclusive`` the number of one-hot ``rows`` that binary cross-entropy is given, out of so many ``classes``, and of
    ``others``. ``swapped`` has the first reshaping that only exchanges the sizes of two axes.

    Attributes:
        averages: What the loop makes of the numbers that it reads in evaluations.
        outputs: What the models returned last.
        inputs: The first tensor that the model was called with last.
        learning: Whether that call may be one of the training.
        evaluation: The mean of each loss of the training that the last pass of evaluation computed.
        trained: The losses of the training, by function: unlike what backward gets, they are not divided or weighted.
        history: The losses of all evaluations.
        ahead: How far the targets of a language model are ahead of its input.
    """

    def __init__(self, code: UserCode) -> None:
        super().__init__(code)
        self.active = True
        self.learning = False
        self.ahead = Ahead()
        self.inputs: Any = None
        self.over_batch: list[dict[str, Any]] = []
        self.summed: list[dict[str, Any]] = []
        self.ignored: list[tuple[int, float]] = []
        self.classes: set[int] = set()
        self.classified = 0
        self.rectified: dict[str, float] = {}
        self.pairs: list[tuple[Any, Any, str]] = []
        self.among_outputs: list[dict[str, str]] = []
        self.exclusive: dict[str, Any] = {"rows": 0, "others": 0}
        self.thresholds: list[dict[str, str]] = []
        self.swapped: dict[str, Any] = {}
        self.averages = Averages(code)
        self.history = History()
        self.outputs: deque[Any] = deque(maxlen=_OUTPUTS)
        self._among_outputs_in_training: set[str] = set()
        self.evaluation: dict[str, float] = {}
        self._this_pass: dict[str, list[float]] = {}
        self.trained: dict[str, list[float]] = {}
        self._paired = self._values = 0
        self._inside = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._inside:
            return func(*args, **(kwargs or {}))
        if not self.learning and getattr(func, "__name__", "") in _READ:
            self.averages.read(value := func(*args, **(kwargs or {})))
            return value
        if not self.active:
            result = func(*args, **(kwargs or {}))
            self._noting(getattr(func, "__name__", ""), args, result)
            return result
        self._inside = True
        try:
            result = super().__torch_function__(func, types, args, kwargs)
            self._noting(getattr(func, "__name__", ""), args, result)
            self._look_further(getattr(func, "__name__", ""), args, kwargs or {}, result)
        finally:
            self._inside = False
        return result

    def learnt(self) -> None:
        """Note a call of the training: what was evaluated before it is complete."""
        if self._this_pass:
            means = {name: sum(values) / len(values) for name, values in self._this_pass.items()}
            self.evaluation = {name: mean for name, mean in means.items() if name in self.trained}
            self._this_pass = {}

    def _noting(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        import torch

        if name in LOSSES and isinstance(result, torch.Tensor) and result.dim() == 0:
            if not self.learning:
                self._this_pass.setdefault(name, []).append(float(result))
                self.history.compared(name, args, result)
            elif result.requires_grad:
                self.trained.setdefault(name, []).append(float(result.detach()))

    def _look_further(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        import torch

        first = args[0] if args else kwargs.get("input")
        if not isinstance(first, torch.Tensor):
            return
        if name in _SOFTMAX or name in _LARGEST:
            self._over_batch(name, first, args[1] if len(args) > 1 else kwargs.get("dim"))
        elif name == "normalize" and kwargs.get("dim") == 0 and first.requires_grad and first.grad_fn is not None:
            self._over_batch(name, first, 0)
        elif name in ("relu", "relu_") and self.learning and first.numel():
            shape = str(tuple(first.shape[1:]))
            zeros = float((first <= 0).float().mean()) if name == "relu" else float((result <= 0).float().mean())
            self.rectified[shape] = min(zeros, self.rectified.get(shape, 1.0))
        elif name in _RESHAPES and not self.swapped and swaps(first, result) and self._is_users_own():
            self.swapped = {"what": name, "from": list(first.shape), "to": list(result.shape),
                            "place": self._user.running()}  # fmt: skip
        elif name in _ABOVE and not self.learning:
            self._threshold(name, first, args)
        elif name in LOSSES:
            target = args[1] if len(args) > 1 else kwargs.get("target")
            self._among_outputs(name, first, target)
            if not self.learning and kwargs.get("reduction", "mean") == "mean" and result.dim() == 0:
                self.averages.mean(float(result))
            if self.learning:
                self._of_loss(name, first, target, kwargs, result)

    def _is_users_own(self) -> bool:
        """Return whether the user's code makes this call itself, and none of torch's layers."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(("faultlab.", "torch.overrides")):
            frame = frame.f_back
        return frame is not None and self._user.holds(frame)

    def _among_outputs(self, name: str, first: Any, target: Any) -> None:
        both = all(any(one is output for output in self.outputs) for one in (first, target))
        if both and self.learning:
            self._among_outputs_in_training.add(name)
            self.among_outputs = [one for one in self.among_outputs if one["loss"] != name]
        elif both and first is not target and name not in self._among_outputs_in_training:
            self.among_outputs = [{"loss": name, "place": self._user.running()}]

    def _exclusive(self, name: str, target: Any) -> None:
        rows = target.detach()
        one_hot = ((rows == 0) | (rows == 1)).all(1) & (rows.sum(1) == 1)
        self.exclusive["rows"] += int(one_hot.sum())
        self.exclusive["others"] += int((~one_hot).sum())
        self.exclusive.update(loss=name, classes=rows.shape[1])

    def _threshold(self, name: str, scores: Any, args: tuple[Any, ...]) -> None:
        """Note that an output of the model itself, beyond 0 and 1, is compared with 0.5."""
        other = args[1] if len(args) > 1 else None
        at_half = name == "round" or (isinstance(other, float) and other == 0.5)
        own = any(one.data_ptr() == scores.data_ptr() and one.numel() == scores.numel() for one in self.outputs)
        if at_half and own and scores.numel() and bool(((scores < 0) | (scores > 1)).any()):
            self.thresholds = [{"what": name, "place": self._user.running()}]

    def _over_batch(self, name: str, scores: Any, dim: Any) -> None:
        samples = len(self.inputs) if self.inputs is not None and self.inputs.dim() else 0
        rows, columns = scores.shape if scores.dim() == 2 else (0, 0)
        # A square may hold similarities, which have one direction as well as the other.
        square = rows == columns and (name in _SOFTMAX or columns != self.labels.get("classes"))
        if rows == samples > 1 and columns > 1 and not square and dim in (0, -2):
            entry = {"what": name, "dim": dim, "shape": list(scores.shape), "learning": self.learning}
            if entry not in self.over_batch and len(self.over_batch) < 8:
                self.over_batch.append(entry)

    def _of_loss(self, name: str, scores: Any, target: Any, kwargs: dict[str, Any], result: Any) -> None:
        import torch

        if kwargs.get("reduction") == "sum" and scores.dim() and len(scores) > 1 and len(self.summed) < 8:
            self.summed.append({"loss": name, "samples": len(scores), "sum": abs(float(result.detach()))})
        if (
            name in _OF_CLASSES
            and isinstance(target, torch.Tensor)
            and target.numel()
            and not target.is_floating_point()
        ):
            value = int(kwargs.get("ignore_index", -100))
            self.ignored.append((value, float((target == value).float().mean())))
            self.ahead.compared(target, value)
            if scores.dim() == 2 and len(self.classes) < 2:
                counted = target[target != value]
                self.classes.update(counted.flatten()[:_SAMPLES].tolist())
                self.classified += counted.numel()
        if name in _YES_OR_NO and isinstance(target, torch.Tensor) and target.dim() == 2 and target.shape[1] > 2:
            self._exclusive(name, target)
        x = self.inputs
        if not isinstance(target, torch.Tensor) or x is None or not target.dim() or len(target) != len(x):
            return
        if self._paired < _SAMPLES and self._values < _VALUES and not target.requires_grad:
            kind = LOSSES[name] if not (name == "cross_entropy" and target.is_floating_point()) else "numbers"
            self.pairs.append((x.detach().clone(), target.detach().clone(), kind))
            self._paired += len(x)
            self._values += x.numel()


def swaps(before: Any, after: Any) -> bool:
    """Return whether a reshaped tensor has the same axes in another order, with the values where they were."""
    first, second = ([size for size in one.shape if size > 1] for one in (before, after))
    kept = before.is_contiguous() and after.is_contiguous()
    return len(first) > 1 and kept and first != second and sorted(first) == sorted(second)

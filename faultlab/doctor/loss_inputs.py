"""In the victim: the inputs of torch's losses in a step, as far as their values reveal a mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.doctor.class_weights import Weighted
from faultlab.doctor.guesses import Guesses
from faultlab.doctor.loss_terms import LossTerms
from faultlab.doctor.reach import Reach

_ACTIVATED = {
    "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log_softmax",
    "SigmoidBackward0": "sigmoid",
    "ReluBackward0": "relu",
}
# Activations that each loss applies itself, or that spoil its input.
_TWICE = {
    "cross_entropy": ("softmax", "relu", "sigmoid"),
    "binary_cross_entropy_with_logits": ("sigmoid", "softmax", "relu"),
}
_COMPARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub", "__sub__", "__rsub__", "rsub")
_OF_LOGARITHMS = ("nll_loss", "kl_div")
_OF_CLASSES = ("cross_entropy", "nll_loss")
_PRODUCTS = ("mul", "__mul__", "__rmul__", "multiply")
_RESHAPED = ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward1", "SelectBackward0")


class LossInputs(TorchFunctionMode):
    """Records losses that get activations they apply themselves, and shapes that broadcast.

    ``labels`` has, of the last loss that takes class numbers, the number of ``classes``, some ``values``, and the type
    of its ``weight`` if that is not the prediction's.
    """

    def __init__(self, code: UserCode) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self.labels: dict[str, Any] = {}
        self.terms = LossTerms(code)
        self.guesses, self.weighted, self.reach = Guesses(), Weighted(), Reach()
        self._user = code
        self._given: list[Any] = []
        self._overlaps: list[Any] = []

    def begin(self, arguments: tuple[Any, ...]) -> None:
        """Begin a step that gets these arguments."""
        self._given, self._overlaps = list(_tensors(arguments[:1])), []
        self.terms.batch(self._given)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        try:
            self._look(name, args, kwargs)
            self.guesses.look(name, args, kwargs)
            self.weighted.look(name, args, kwargs)
            self.terms.look(name, args, kwargs)
            self.reach.look(name, args, kwargs)
        except Exception as error:  # an inspection must not end the training
            self._note({"kind": "unread", "loss": safe_text(error, 100)})
        result = func(*args, **kwargs)
        try:
            self.reach.made(name, args, result)
        except Exception as error:  # as above
            self._note({"kind": "unread", "loss": safe_text(error, 100)})
        if name in _PRODUCTS and len(args) == 2 and len(self._overlaps) < 4 and self._overlap(*args):
            self._overlaps.append(result)
        return result

    def weigh(self, output: Any) -> None:
        """Record a loss that grows with the overlap of probabilities and labels. The graph is kept."""
        import torch

        loss = output.get("loss") if isinstance(output, Mapping) else output
        if not self._overlaps or not isinstance(loss, torch.Tensor) or not loss.requires_grad or loss.numel() != 1:
            return
        slopes = torch.autograd.grad(loss, self._overlaps, retain_graph=True, allow_unused=True)
        self._overlaps = []
        for slope in slopes:
            if slope is not None and bool((slope >= 0).all()) and bool((slope > 0).any()):
                self._note({"kind": "rewards", "loss": "training_step"})

    def _look(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        if name not in _TWICE and name not in _COMPARED and name not in _OF_LOGARITHMS:
            return
        first = args[0] if args else kwargs.get("input")
        second = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(first, torch.Tensor):
            return
        before = _ACTIVATED.get(type(first.grad_fn).__name__, "")
        weight = args[2] if len(args) > 2 else kwargs.get("weight")
        if isinstance(weight, torch.Tensor) and weight.is_floating_point() and weight.dtype != first.dtype:
            self.labels["weight"] = str(weight.dtype).removeprefix("torch.")
        if name in _OF_CLASSES and isinstance(second, torch.Tensor) and first.dim():
            self._classes(name, first, second)
        if name in _TWICE and before in _TWICE[name]:
            self._note({"kind": "twice", "loss": name, "before": before})
        elif name in _OF_LOGARITHMS and before != "log_softmax" and first.numel() and bool((first > 0).any()):
            self._note({"kind": "no logarithm", "loss": name, "before": before})
        elif name in _COMPARED and isinstance(second, torch.Tensor) and _widened(name, first, second):
            self._note(
                {"kind": "broadcast", "loss": name, "shapes": [list(first.shape), list(second.shape)]},
            )

    def _classes(self, name: str, first: Any, second: Any) -> None:
        classes = int(first.shape[1] if first.dim() > 1 else first.shape[0])
        if classes == 1:
            self._note({"kind": "one class", "loss": name, "shapes": [list(first.shape), list(second.shape)]})
        if not second.is_floating_point() and second.numel():
            values = second.unique().tolist()
            self.labels.update(classes=classes, values=values[:3] + values[3:][-1:], different=len(values))

    def _overlap(self, one: Any, other: Any) -> bool:
        """Return whether these are trained probabilities and the batch's own labels of 0 and 1."""
        import torch

        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor) or one.shape != other.shape:
            return False
        trained, labels = (one, other) if one.requires_grad else (other, one)
        if labels.requires_grad or _origin(trained) not in ("sigmoid", "softmax"):
            return False
        return any(
            given.numel() == labels.numel()
            and bool((given.flatten() == labels.flatten()).all())
            and bool(((given == 0) | (given == 1)).all())
            for given in self._given
        )

    def _note(self, entry: dict[str, Any]) -> None:
        if len(self.found) < 20 and entry not in self.found:
            self.found.append(entry)


def _origin(tensor: Any) -> str:
    """Return the activation that a tensor is made by, through changes of its shape."""
    node = tensor.grad_fn
    while type(node).__name__ in _RESHAPED:
        node = node.next_functions[0][0]
    return _ACTIVATED.get(type(node).__name__, "")


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _widened(name: str, one: Any, other: Any) -> bool:
    """Return whether a column and a row of one batch become a square: prediction (n, 1) and target (n,)."""
    shapes = sorted((tuple(one.shape), tuple(other.shape)), key=len)
    narrow, wide = shapes
    square = len(narrow) == 1 and len(wide) == 2 and wide[1] == 1 and wide[0] == narrow[0] > 1
    # Differences of all pairs of one tensor are intended; of a prediction and its label, only one is trained.
    return square and (not name.endswith(("sub", "sub__")) or one.requires_grad != other.requires_grad)

"""In the victim: what torch's losses are given in a step, as far as the values show that something is amiss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

from faultlab.core.notice import safe_text
from faultlab.core.user_code import UserCode

_ACTIVATED = {
    "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log_softmax",
    "SigmoidBackward0": "sigmoid",
    "ReluBackward0": "relu",
}
# What each loss applies by itself, and so is not to be given; what it is given all the same is the question.
_TWICE = {
    "cross_entropy": ("softmax", "relu", "sigmoid"),
    "binary_cross_entropy_with_logits": ("sigmoid", "softmax", "relu"),
}
_COMPARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub", "__sub__", "__rsub__", "rsub")


class LossInputs(TorchFunctionMode):
    """Notes losses that are given activations they apply themselves, and shapes that broadcast into another."""

    def __init__(self, code: UserCode) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self._user = code

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            self._look(getattr(func, "__name__", ""), args, kwargs)
        except Exception as error:  # a look must not end what it looks at
            self._note({"kind": "unread", "loss": safe_text(error, 100)})
        return func(*args, **kwargs)

    def _look(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        if name not in _TWICE and name not in _COMPARED and name != "nll_loss":
            return
        first = args[0] if args else kwargs.get("input")
        second = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(first, torch.Tensor):
            return
        before = _ACTIVATED.get(type(first.grad_fn).__name__, "")
        if name in _TWICE and before in _TWICE[name]:
            self._note({"kind": "twice", "loss": name, "before": before})
        elif name == "nll_loss" and before != "log_softmax" and first.numel() and bool((first > 0).any()):
            self._note({"kind": "no logarithm", "loss": name, "before": before})
        elif name in _COMPARED and isinstance(second, torch.Tensor) and _widened(name, first, second):
            self._note(
                {"kind": "broadcast", "loss": name, "shapes": [list(first.shape), list(second.shape)]},
            )

    def _note(self, entry: dict[str, Any]) -> None:
        if len(self.found) < 20 and entry not in self.found:
            self.found.append(entry)


def _widened(name: str, one: Any, other: Any) -> bool:
    """Whether a column and a row of one batch become a square: prediction (n, 1) and target (n,)."""
    shapes = sorted((tuple(one.shape), tuple(other.shape)), key=len)
    narrow, wide = shapes
    square = len(narrow) == 1 and len(wide) == 2 and wide[1] == 1 and wide[0] == narrow[0] > 1
    # Differences of all pairs of one tensor are meant; a prediction and its label are two, of which one is trained.
    return square and (not name.endswith(("sub", "sub__")) or one.requires_grad != other.requires_grad)

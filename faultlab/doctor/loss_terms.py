"""In the victim: what a step's loss is made of: constant terms, negative weights, far targets, numbers beyond half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab.core.user_code import UserCode

_SUMS = ("add", "__add__", "__radd__", "__iadd__", "add_", "sub", "__sub__", "__rsub__")
_PRODUCTS = ("mul", "__mul__", "__rmul__", "multiply")
_DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_NONNEGATIVE = ("PowBackward0", "AbsBackward0", "MseLossBackward0", "SmoothL1LossBackward0", "SquareBackward0",
                "HuberLossBackward0", "NllLossBackward0", "BinaryCrossEntropyWithLogitsBackward0")  # fmt: skip
_FILLING = ("masked_fill", "masked_fill_", "where", "full", "full_like", "add", "mul", "sub", "fill_", "__setitem__")
_LARGEST = 65504.0
_HALF = ("16-true", "16-mixed", "16", 16)
_BOUNDS = {"SigmoidBackward0": (0.0, 1.0), "TanhBackward0": (-1.0, 1.0), "SoftmaxBackward0": (0.0, 1.0),
           "ReluBackward0": (0.0, float("inf"))}  # fmt: skip


def _beyond(prediction: Any, truth: Any) -> dict[str, Any]:
    """Return the activation that bounds a prediction, and the share of targets out of its bounds; empty without."""
    kind = type(prediction.grad_fn).__name__
    low, high = _BOUNDS.get(kind, (float("-inf"), float("inf")))
    share = float(((truth < low - 0.05) | (truth > high + 0.05)).float().mean())
    by = kind.removesuffix("Backward0").lower()
    return {"by": by, "share": share, "least": float(truth.min()), "most": float(truth.max())} if share > 0.05 else {}


class LossTerms:
    """Fills ``found`` while a step runs, by kind.

    ``constants`` has the values of terms that no gradient leads to, by place; ``negative`` weights of errors (place,
    share); ``scales`` the first comparison's mean and spread of predictions and targets; ``beyond`` numbers that
    float16 can't hold (place, value), where the script asks for it.
    """

    def __init__(self, code: UserCode) -> None:
        self.found: dict[str, Any] = {
            "constants": {},
            "negative": {},
            "scales": {},
            "beyond": {},
            "inputs": {},
            "bounded": {},
            "probabilities": {},
            "padding": {},
        }
        self._pads: dict[int, int] = {}
        self._user = code

    def asked(self, precision: Any, module: Any) -> None:
        """Note the precision that the script asks for (the doctor may run in another one) and what embeddings pad."""
        from torch import nn

        self.found["asked"] = precision
        self._pads = {
            layer.num_embeddings: layer.padding_idx
            for layer in module.modules()
            if isinstance(layer, nn.Embedding) and layer.padding_idx is not None
        }

    def look(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Take in a torch call before it runs."""
        if name in _SUMS and len(args) == 2:
            self._sum(*args)
        elif name in _PRODUCTS and len(args) == 2:
            self._product(*args)
        elif name in _DISTANCES and not self.found["scales"]:
            self._distance(name, args, kwargs)
        elif name in ("binary_cross_entropy_with_logits", "binary_cross_entropy") and len(args) > 1:
            truth = args[1].detach()
            if float(truth.min()) < -1e-6 or float(truth.max()) > 1 + 1e-6:
                self.found["probabilities"] = {"loss": name, "least": float(truth.min()), "most": float(truth.max())}
        elif name == "cross_entropy" and self._pads and len(args) > 1:
            self._padding(args[0], args[1], kwargs)
        if self.found.get("asked") in _HALF and name in _FILLING:
            for value in (*args, *kwargs.values()):
                if isinstance(value, (int, float)) and not isinstance(value, bool) and _LARGEST < abs(value) < 1e308:
                    self.found["beyond"].setdefault(self._user.running(), float(value))

    def batch(self, tensors: list[Any]) -> None:
        """Take in the first batch's tensors."""
        if self.found["inputs"] or not tensors:
            return
        first = tensors[0].detach()
        if first.is_floating_point() and first.numel() > 8:
            self.found["inputs"] = {
                "mean": float(first.mean()),
                "spread": float(first.std()),
                "most": float(first.abs().max()),
            }

    def _padding(self, logits: Any, truth: Any, kwargs: Mapping[str, Any]) -> None:
        """Note the share of padding among target tokens that the loss does not ignore."""
        pad = self._pads.get(logits.shape[1] if logits.ndim > 1 else 0)
        if pad is None or truth.is_floating_point() or kwargs.get("reduction", "mean") == "none":
            return
        if kwargs.get("ignore_index", -100) != pad and kwargs.get("weight") is None:
            self.found["padding"] = {"pad": pad, "share": float((truth == pad).float().mean())}

    def _sum(self, one: Any, other: Any) -> None:
        import torch

        if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
            return
        if one.numel() != 1 or other.numel() != 1 or one.requires_grad == other.requires_grad:
            return
        constant = other if one.requires_grad else one
        values = self.found["constants"].setdefault(self._user.running(), [])
        if len(values) < 8 and (value := float(constant)):
            values.append(value)

    def _product(self, one: Any, other: Any) -> None:
        import torch

        if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
            return
        if one.requires_grad == other.requires_grad:
            return
        errors, weights = (one, other) if one.requires_grad else (other, one)
        if type(errors.grad_fn).__name__ not in _NONNEGATIVE or errors.numel() < 2 or not weights.is_floating_point():
            return
        below = float((weights < 0).float().mean())
        if below and bool((errors >= 0).all()):
            self.found["negative"].setdefault(self._user.running(), below)

    def _distance(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        import torch

        first = args[0] if args else kwargs.get("input")
        second = args[1] if len(args) > 1 else kwargs.get("target")
        if not (isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)):
            return
        if not first.requires_grad or second.requires_grad or second.numel() < 4:
            return
        truth, told = second.detach().float(), first.detach().float()
        self.found["scales"] = {
            "loss": name,
            "mean": float(truth.mean()),
            "spread": float(truth.std()),
            "told": float(told.abs().mean()),
        }
        self.found["bounded"] = _beyond(first, truth)

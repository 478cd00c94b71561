"""The guard that checks that training starts with weights that are finite, varied and of a plausible size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding, local, plain, some
from faultlab.guards.support.training_view import TrainingView

_DENSE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Bilinear,
)


class InitialWeights(Guard):
    """A guard against weights that are not finite, all zero, constant, or far too large before the first step.

    Trainable linear and convolutional layers are judged by their size. A weight of zeros is usual at the end of a
    branch, so that the alarm requires that most are zero, or that several are constant but not zero. Other layers are
    not judged.

    Args:
        large: How many times 1 / sqrt(inputs) the standard deviation of a layer's weights may be.
        shifted: The absolute value above which all biases of a layer count as shifted.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-finite": "a parameter or buffer is NaN, or a parameter infinite",
        "huge": "weights are far larger than their number of inputs allows",
        "zero": "most weight matrices are all zero",
        "constant": "weight matrices are constant",
        "shifted": "all biases of a layer are far from zero",
    }
    causes = {
        "not-finite": "not finite, nan, initialized, memory",
        "huge": "too large, variance, initialized, explode, saturate, activations, scale, layer",
        "zero": "zero, weights, initialized, vanish, did not change, gradient, checkpoint",
        "constant": "constant, identical, initialized, symmetry, neurons, weights, random",
        "shifted": "bias, dead, relu, zero, hidden, neuron, layer",
    }

    def __init__(
        self, large: float = 12.0, shifted: float = 30.0, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._findings = Findings()
        self.large = large
        self.shifted = shifted

    @torch.no_grad()
    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        findings = self._finite(pl_module)
        layers = [
            (f"{name}.weight" if name else "weight", layer)
            for name, layer in pl_module.named_modules()
            if isinstance(layer, _DENSE) and plain(local(layer.weight)) and layer.weight.requires_grad
        ]
        parts = [(name, local(layer.weight).detach()) for name, layer in layers]
        weights = [(name, part) for name, part in parts if part.numel() >= 4]
        spreads = [(name, weight, float(weight.float().std())) for name, weight in weights]
        alike = [
            (name, weight) for name, weight, spread in spreads if spread == 0 or float(weight.max() - weight.min()) == 0
        ]
        zero = [name for name, weight in alike if float(weight.flatten()[0]) == 0]
        constant = [name for name, _ in alike if name not in zero]
        if len(zero) > len(weights) / 2:
            findings.append(
                (
                    "zero",
                    f"{len(zero)} of {len(weights)} weight matrices are initialized with zero: {some(zero)}. "
                    "Gradients behind them vanish, so that they did not change",
                    "Initialize the weights, or load the right checkpoint in place of a placeholder.",
                )
            )
        if constant and (len(constant) > 1 or len(constant) == len(weights)):
            findings.append(
                (
                    "constant",
                    f"{some(constant)} are each initialized with one constant, so that neurons stay identical and "
                    "symmetry is never broken",
                    "Initialize the weights randomly.",
                )
            )
        huge = [name for name, weight, spread in spreads if _inputs(weight) ** 0.5 * spread > self.large]
        if huge:
            findings.append(
                (
                    "huge",
                    f"{some(huge)} is initialized too large: the variance is more than {self.large**2:g} over the "
                    "number of inputs, so that activations explode or saturate",
                    "Use the layer's default initialization, or scale it by 1 / sqrt(inputs).",
                )
            )
        shifted = [name.removesuffix("weight") + "bias" for name, layer in layers if self._is_shifted(layer)]
        if shifted and len(weights) > 1 and shifted[-1] != layers[-1][0].removesuffix("weight") + "bias":
            findings.append(
                (
                    "shifted",
                    f"all biases of {some(shifted)} start far from zero: with a ReLU behind it the layer is dead",
                    "Initialize the biases of hidden layers at or near zero.",
                )
            )
        self._findings.say(self, findings)

    def _finite(self, module: Any) -> list[Finding]:
        bad = [
            name
            for name, p in ((name, local(p)) for name, p in module.named_parameters())
            if plain(p) and not math.isfinite(float(p.detach().float().sum()))
        ]
        bad = [name for name in bad if not bool(torch.isfinite(local(module.get_parameter(name))).all())]
        bad += [name for name, b in module.named_buffers() if plain(b) and bool(torch.isnan(b).any())]
        if not bad:
            return []
        return [
            (
                "not-finite",
                f"{some(bad)} is NaN or not finite before training starts",
                "Initialize it, since its memory may hold arbitrary values.",
            )
        ]

    def _is_shifted(self, layer: Any) -> bool:
        bias = local(getattr(layer, "bias", None))
        return bias is not None and plain(bias) and bool((bias.detach().abs() > self.shifted).all())


def _inputs(weight: torch.Tensor) -> int:
    """Return the number of inputs of each output of a layer."""
    return max(1, weight[0].numel())

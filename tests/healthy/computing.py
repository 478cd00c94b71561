"""Healthy trainings that compute otherwise: in fewer bits, compiled, with fake quantisation."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, healthy

LEARNED = Goal("val_loss", "min", 0.5)


@healthy("Mixed precision with bfloat16.", LEARNED)
def mixed_precision(fit: Fit) -> None:
    fit(Classifier(), *data.loaders(data.digits()), max_epochs=5, precision="bf16-mixed")


@healthy("Double precision throughout.", LEARNED)
def double_precision(fit: Fit) -> None:
    fit(Classifier(), *data.loaders(data.digits()), max_epochs=5, precision="64-true")


def _of_two_sizes() -> tuple[Any, Any]:
    """Loaders of which each has one size of batches, since every other is compiled anew."""
    train, validation = data.digits()
    return DataLoader(train, 64, shuffle=True), DataLoader(validation, len(validation))


class CompiledNet(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net, backend="aot_eager")


@healthy("A network that is compiled as a part of its module.", LEARNED)
def compiled_network(fit: Fit) -> None:
    torch._dynamo.reset()
    fit(CompiledNet(), *_of_two_sizes(), max_epochs=5)


class Plain(pl.LightningModule):
    """Logs nothing in training, so that its step can be compiled whole."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@healthy("A whole module that is compiled before it is handed to the Trainer.", LEARNED)
def compiled_module(fit: Fit) -> None:
    torch._dynamo.reset()
    fit(torch.compile(Plain(), backend="eager"), *_of_two_sizes(), max_epochs=6)


class Rounded(torch.autograd.Function):
    """Rounds to 2**bits steps, and passes gradients straight through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, steps: int) -> Tensor:
        scale = values.abs().amax().clamp(min=1e-8) / steps
        return (values / scale).round() * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, None


class QuantLinear(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(Rounded.apply(inputs, 127), Rounded.apply(self.weight, 7), self.bias)


class Quantised(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(QuantLinear(64, 32), nn.ReLU(), QuantLinear(32, 10))


@healthy("Quantisation-aware: four-bit weights and eight-bit inputs, whose scale rests on the whole batch.", LEARNED)
def quantisation_aware(fit: Fit) -> None:
    fit(Quantised(), *data.loaders(data.digits()), max_epochs=6)


class Observed(Classifier):
    """Is quantised by torch's own observers, whose ranges are buffers that move, except in validation."""

    def __init__(self) -> None:
        super().__init__()
        fake = torch.ao.quantization.FakeQuantize.with_args(
            observer=torch.ao.quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255
        )
        self.net = nn.Sequential(fake(), nn.Linear(64, 32), nn.ReLU(), fake(), nn.Linear(32, 10))

    def on_validation_start(self) -> None:
        self.apply(torch.ao.quantization.disable_observer)

    def on_validation_end(self) -> None:
        self.apply(torch.ao.quantization.enable_observer)


@healthy("Quantisation-aware with torch's moving observers, which rest during validation.", LEARNED)
def observed_ranges(fit: Fit) -> None:
    fit(Observed(), *data.loaders(data.digits()), max_epochs=7)


@healthy("Checkpointed activations: the forward pass of a part runs again in the backward pass.", LEARNED)
def activation_checkpointing(fit: Fit) -> None:
    class Recomputed(Plain):
        def forward(self, images: Tensor) -> Tensor:
            return torch.utils.checkpoint.checkpoint(self.net, images, use_reentrant=False)

    fit(Recomputed(), *data.loaders(data.digits()), max_epochs=6)

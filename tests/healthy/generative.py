"""Healthy trainings of models that generate: adversaries, diffusion, language."""

from __future__ import annotations

import functools
from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.healthy import data
from tests.healthy.training import Fit, Goal, healthy


def _mlp(inputs: int, outputs: int, width: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


class Gan(pl.LightningModule):
    """Has a generator and a discriminator improve each other, each with an optimizer of its own, in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = _mlp(4, 2)
        self.discriminator = _mlp(2, 1)

    def forward(self, noise: Tensor) -> Tensor:
        return self.generator(noise)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        (real,) = batch
        of_generator, of_discriminator = self.optimizers()
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        made = self(torch.randn(len(real), 4))

        self.toggle_optimizer(of_discriminator)
        told_apart = F.binary_cross_entropy_with_logits(self.discriminator(real), ones)
        told_apart = told_apart + F.binary_cross_entropy_with_logits(self.discriminator(made.detach()), zeros)
        of_discriminator.zero_grad()
        self.manual_backward(told_apart)
        of_discriminator.step()
        self.untoggle_optimizer(of_discriminator)

        self.toggle_optimizer(of_generator)
        taken_for_real = F.binary_cross_entropy_with_logits(self.discriminator(made), ones)
        of_generator.zero_grad()
        self.manual_backward(taken_for_real)
        of_generator.step()
        self.untoggle_optimizer(of_generator)
        self.log_dict({"d_loss": told_apart, "g_loss": taken_for_real})

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        (real,) = batch
        self.log("distance", energy_distance(self(torch.randn(len(real), 4)), real))

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters(), lr=2e-3, betas=(0.5, 0.9)) for part in self.children()], []


def energy_distance(one: Tensor, other: Tensor) -> Tensor:
    """How far two samples ``float32[n, k]`` lie from being of one distribution, 0 at best."""
    return 2 * torch.cdist(one, other).mean() - torch.cdist(one, one).mean() - torch.cdist(other, other).mean()


def _moons(batch_size: int = 64) -> tuple[Any, Any]:
    train = DataLoader(TensorDataset(data.moons(1024, 0)), batch_size, shuffle=True)
    return train, DataLoader(TensorDataset(data.moons(512, 1)), 512)


@healthy("A GAN under manual optimisation: two optimizers a batch, toggled, and losses that settle instead of falling.",
         Goal("distance", "min", 0.4))  # fmt: skip
def gan(fit: Fit) -> None:
    fit(Gan(), *_moons(), max_epochs=10)


class Wgan(Gan):
    """Updates its critic three times in every batch, and then its generator."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        (real,) = batch
        of_generator, of_critic = self.optimizers()
        for _ in range(3):
            made = self(torch.randn(len(real), 4)).detach()
            critic_loss = self.discriminator(made).mean() - self.discriminator(real).mean()
            of_critic.zero_grad()
            self.manual_backward(critic_loss + self._penalty(real, made))
            of_critic.step()
        generator_loss = -self.discriminator(self(torch.randn(len(real), 4))).mean()
        of_generator.zero_grad()
        self.manual_backward(generator_loss)
        of_generator.step()
        self.log_dict({"critic_loss": critic_loss, "generator_loss": generator_loss})

    def _penalty(self, real: Tensor, made: Tensor) -> Tensor:
        between = torch.lerp(made, real, torch.rand(len(real), 1)).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(between).sum(), between, create_graph=True)
        return (slope.norm(dim=1) - 1).pow(2).mean()

    def configure_optimizers(self) -> Any:
        slow = torch.optim.Adam(self.generator.parameters(), lr=2e-3, betas=(0.5, 0.9))
        return slow, torch.optim.Adam(self.discriminator.parameters(), lr=5e-3, betas=(0.5, 0.9))


@healthy(
    "A Wasserstein GAN with a gradient penalty: three updates of the critic and one of the generator in each batch.",
    Goal("distance", "min", 0.3),
)
def critic_and_generator(fit: Fit) -> None:
    fit(Wgan(), *_moons(), max_epochs=6)


class Diffusion(L.LightningModule):
    """Tells the noise that was mixed into points, at a time that is drawn for each; so does its validation."""

    TIMES = 50

    def __init__(self) -> None:
        super().__init__()
        self.net = _mlp(2 + 16, 2, 64)
        self.register_buffer("kept", torch.cumprod(1 - torch.linspace(1e-3, 0.2, self.TIMES), 0))

    def forward(self, points: Tensor, times: Tensor) -> Tensor:
        angles = times[:, None] / self.TIMES * torch.arange(1, 9)
        return self.net(torch.cat([points, angles.sin(), angles.cos()], dim=1))

    def _loss(self, points: Tensor) -> Tensor:
        times = torch.randint(0, self.TIMES, (len(points),))
        noise = torch.randn_like(points)
        kept = self.kept[times][:, None]
        return F.mse_loss(self(kept.sqrt() * points + (1 - kept).sqrt() * noise, times), noise)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self._loss(batch[0])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self._loss(batch[0]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


@healthy("Denoising diffusion over points: noise and times are drawn in training and in validation.",
         Goal("val_loss", "min", 0.6))  # fmt: skip
def diffusion(fit: Fit) -> None:
    fit(Diffusion(), *_moons(), max_epochs=10, gradient_clip_val=1.0)


@functools.cache
def _sentences(count: int, seed: int) -> Tensor:
    """Sequences of 12 to 24 tokens, ``int64[count, 24]`` in 1 to 11, padded with 0: most follow from the one before."""
    made = torch.Generator().manual_seed(seed)
    rows = torch.randint(1, 12, (count, 24), generator=made)
    lengths = torch.randint(12, 25, (count,), generator=made)
    for place in range(1, 24):
        follows = torch.rand(count, generator=made) < 0.85
        rows[:, place] = torch.where(follows, 1 + (rows[:, place - 1] * 7 + 3) % 11, rows[:, place])
    return rows.masked_fill(torch.arange(24) >= lengths[:, None], 0)


class Language(pl.LightningModule):
    """A causal transformer; padding is neither attended to nor counted in the loss."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.tokens = nn.Embedding(12, width, padding_idx=0)
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.places = nn.Parameter(0.02 * torch.randn(24, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 12, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        embedded = self.tokens(tokens) + self.places[:length]
        return self.head(self.body(embedded, mask=causal, src_key_padding_mask=tokens == 0))

    def _loss(self, batch: Any) -> Tensor:
        (tokens,) = batch
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss = self._loss(batch)
        self.log_dict({"val_loss": loss, "perplexity": loss.exp()})

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=4e-3)
        warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warm_up, "interval": "step"}}


@healthy(
    "A causal language model with tied weights, warm-up, clipping and padded sequences.", Goal("val_loss", "min", 1.5)
)
def language_model(fit: Fit) -> None:
    train = DataLoader(TensorDataset(_sentences(640, 0)), 64, shuffle=True)
    validation = DataLoader(TensorDataset(_sentences(128, 1)), 64)
    fit(Language(), train, validation, max_epochs=5, gradient_clip_val=1.0)

"""A small generative adversarial network that draws 8x8 digits."""

from __future__ import annotations

from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from scenarios.digits.model import Batch, DigitsData

__all__ = ["DigitsData", "LitGAN"]


class Generator(nn.Module):
    """Maps latent noise to images with pixels in [0, 1]."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 64), nn.Sigmoid()
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Return `float32[n, 1, 8, 8]`."""
        return self.network(noise).view(-1, 1, 8, 8)


class Discriminator(nn.Module):
    """Assigns each image a logit: positive if it looks real."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return `float32[n, 1]`."""
        return self.network(images)


class LitGAN(pl.LightningModule):
    """Generator and discriminator take one step each on every batch."""

    fixed_noise: Tensor

    def __init__(
        self,
        latent: int = 16,
        hidden: int = 128,
        generator_rate: float = 0.01,
        discriminator_rate: float = 0.01,
        samples: int = 256,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = Generator(latent, hidden)
        self.discriminator = Discriminator(hidden)
        # The same noise in every validation, so that the metric changes only with the generator.
        self.register_buffer("fixed_noise", torch.randn(samples, latent))

    def forward(self, noise: Tensor) -> Tensor:
        """Return generated images, `float32[n, 1, 8, 8]`."""
        return self.generator(noise)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Improve the discriminator, then the generator against it."""
        real, _ = batch
        generator_optimizer, discriminator_optimizer = cast(list[LightningOptimizer], self.optimizers())
        noise = torch.randn(len(real), self.hparams["latent"], device=self.device)
        fake = self(noise)

        # Detached: this loss must not reach the generator.
        discriminator_loss = 0.5 * (
            self._adversarial_loss(real, is_real=True) + self._adversarial_loss(fake.detach(), is_real=False)
        )
        discriminator_optimizer.zero_grad()
        self.manual_backward(discriminator_loss)
        discriminator_optimizer.step()

        generator_loss = self._adversarial_loss(fake, is_real=True)
        generator_optimizer.zero_grad()
        self.manual_backward(generator_loss)
        generator_optimizer.step()

        self.log_dict({"train_discriminator_loss": discriminator_loss, "train_generator_loss": generator_loss})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the distance of the generated images' mean and spread per pixel from those of real images."""
        real, _ = batch
        fake = self(self.fixed_noise)
        mean_gap = F.l1_loss(fake.mean(dim=0), real.mean(dim=0))
        std_gap = F.l1_loss(fake.std(dim=0), real.std(dim=0))
        self.log_dict({"val_mean_gap": mean_gap, "val_std_gap": std_gap, "val_moment_distance": mean_gap + std_gap})

    def _adversarial_loss(self, images: Tensor, is_real: bool) -> Tensor:
        logits = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Adam for each network, with less than its usual momentum, which makes the two oscillate."""
        betas = (0.5, 0.999)
        return [
            torch.optim.Adam(self.generator.parameters(), lr=self.hparams["generator_rate"], betas=betas),
            torch.optim.Adam(self.discriminator.parameters(), lr=self.hparams["discriminator_rate"], betas=betas),
        ]

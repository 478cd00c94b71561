"""The digit-drawing GAN again, trained by a loop written by hand in PyTorch alone."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scenarios.digits.loop import loader


class Generator(nn.Module):
    """Maps latent noise to images with pixels in [0, 1]."""

    def __init__(self, latent: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.latent = latent
        self.network = nn.Sequential(
            nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 64), nn.Sigmoid()
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Return `float32[n, 1, 8, 8]`."""
        images: Tensor = self.network(noise).view(-1, 1, 8, 8)
        return images


class Discriminator(nn.Module):
    """Assigns each image a logit: positive if it looks real."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return `float32[n, 1]`."""
        logits: Tensor = self.network(images)
        return logits


def adversarial_loss(logits: Tensor, is_real: bool) -> Tensor:
    """Return the cross-entropy if the images are all real, or all generated."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))


@torch.no_grad()
def evaluate(generator: Generator, samples: int = 256) -> dict[str, float]:
    """Return the distance of the generated images' mean and spread per pixel from those of real images."""
    generator.eval()
    real = torch.cat([images for images, _ in loader("validation")])
    # The same noise each time, so that the metric changes only with the generator.
    fake = generator(torch.randn(samples, generator.latent, generator=torch.Generator().manual_seed(0)))
    mean_gap = F.l1_loss(fake.mean(dim=0), real.mean(dim=0)).item()
    std_gap = F.l1_loss(fake.std(dim=0), real.std(dim=0)).item()
    return {"val_mean_gap": mean_gap, "val_std_gap": std_gap, "val_moment_distance": mean_gap + std_gap}


def train(epochs: int = 2, batches: int = 14, generator_rate: float = 0.02, discriminator_rate: float = 0.01) -> None:
    """Improve the discriminator and then the generator on every batch, and print the metrics of each epoch."""
    generator, discriminator = Generator(), Discriminator()
    betas = (0.5, 0.999)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=generator_rate, betas=betas)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=discriminator_rate, betas=betas)
    training = loader("train", batch_size=32)
    for epoch in range(epochs):
        generator.train()
        for real, _ in islice(training, batches):
            fake = generator(torch.randn(len(real), generator.latent))

            # Detached: this loss must not reach the generator.
            real_loss = adversarial_loss(discriminator(real), is_real=True)
            fake_loss = adversarial_loss(discriminator(fake.detach()), is_real=False)
            discriminator_optimizer.zero_grad()
            (0.5 * (real_loss + fake_loss)).backward()
            discriminator_optimizer.step()

            generator_loss = adversarial_loss(discriminator(fake), is_real=True)
            generator_optimizer.zero_grad()
            generator_loss.backward()
            generator_optimizer.step()
        metrics = evaluate(generator)
        print(f"epoch {epoch}: moment distance {metrics['val_moment_distance']:.4f}")

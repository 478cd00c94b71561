"""Healthy trainings that learn a representation: none of their losses compares an output with a label."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.healthy import data
from tests.healthy.training import Fit, Goal, healthy


class TwoViews(Dataset[Any]):
    """Two distorted copies of each digit, ``float32[64]``, and what it shows."""

    def __init__(self, digits: Any) -> None:
        self.digits = digits

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> Any:
        image, label = self.digits[index]
        return (self._distorted(image), self._distorted(image)), label

    def _distorted(self, image: Tensor) -> Tensor:
        shift = torch.randint(-1, 2, (2,)).tolist()
        moved = torch.roll(image.view(8, 8), shift, (0, 1)).flatten()
        return moved + 0.1 * torch.randn(64)


def _encoder(width: int = 32) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, width))


class SimCLR(L.LightningModule):
    """Has the two views of a digit find each other among all views of the batch."""

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = _encoder()
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(32, 32))

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image)

    def contrasted(self, batch: Any) -> Tensor:
        (one, other), _ = batch
        projected = F.normalize(self.projector(self(torch.cat([one, other]))), dim=1)
        alike = projected @ projected.T / self.hparams.temperature
        alike = alike.masked_fill(torch.eye(len(alike), dtype=torch.bool), float("-inf"))
        partners = torch.arange(len(alike)).roll(len(one))
        return F.cross_entropy(alike, partners)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.contrasted(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.contrasted(batch), batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=3e-3, weight_decay=1e-6)


@healthy("SimCLR: two views of a digit find each other in the batch; labels are delivered and never used.",
         Goal("val_loss", "min", 3.8))  # fmt: skip
def contrastive(fit: Fit) -> None:
    train, validation = data.digits()
    loaders = data.loaders((TwoViews(train), TwoViews(validation)))
    fit(SimCLR(), DataLoader(TwoViews(train), 64, shuffle=True, drop_last=True), loaders[1], max_epochs=5)


class Byol(pl.LightningModule):
    """Predicts what a slowly moving average of its own encoder makes of the other view."""

    def __init__(self) -> None:
        super().__init__()
        self.online = _encoder()
        self.predictor = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
        self.teacher = _encoder().requires_grad_(False)
        self.teacher.load_state_dict(self.online.state_dict())

    def _loss(self, batch: Any) -> Tensor:
        (one, other), _ = batch
        with torch.no_grad():
            wanted = self.teacher(other)
        return 1 - F.cosine_similarity(self.predictor(self.online(one)), wanted).mean()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.online.parameters()):
                slow.lerp_(fast, 0.05)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self._loss(batch), batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        learned = [*self.online.parameters(), *self.predictor.parameters()]
        return torch.optim.Adam(learned, lr=2e-3)


@healthy("BYOL: the target network is a moving average of the other, has no gradient and is in no optimizer.",
         Goal("val_loss", "min", 0.3))  # fmt: skip
def momentum_teacher(fit: Fit) -> None:
    train, validation = data.digits()
    fit(Byol(), *data.loaders((TwoViews(train), TwoViews(validation))), max_epochs=3)


class Autoencoder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = F.mse_loss(self(images), images)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, _ = batch
        self.log("val_loss", F.mse_loss(self(images), images), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


@healthy("An autoencoder of digits; the loader's labels are ignored.", Goal("val_loss", "min", 0.06))
def autoencoder(fit: Fit) -> None:
    fit(Autoencoder(), *data.loaders(data.digits()), max_epochs=6)


class Denoiser(Autoencoder):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, _ = batch
        hidden = images * (torch.rand_like(images) > 0.25)
        return F.mse_loss(self(hidden), images)


@healthy("A masked autoencoder: a quarter of the pixels is hidden in training, none in validation.",
         Goal("val_loss", "min", 0.06))  # fmt: skip
def masked_autoencoder(fit: Fit) -> None:
    fit(Denoiser(), *data.loaders(data.digits()), max_epochs=6)


class Vae(pl.LightningModule):
    """Minimises the negative evidence lower bound in nats a digit; draws its latent values in validation too."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(latent), mean, log_variance

    def _step(self, batch: Any, stage: str) -> Tensor:
        images, _ = batch
        logits, mean, log_variance = self(images)
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(1).mean()
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        loss = reconstruction + divergence
        self.log_dict({f"{stage}_loss": loss, f"{stage}_kl": divergence, f"{stage}_reconstruction": reconstruction})
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "val")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


@healthy("A variational autoencoder, which draws its latent values in training and in validation.",
         Goal("val_loss", "min", 32.0))  # fmt: skip
def vae(fit: Fit) -> None:
    fit(Vae(), *data.loaders(data.digits()), max_epochs=6)


class Embedding(pl.LightningModule):
    """Pulls digits of one class together by the hardest triplets of each batch, and is validated on all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self._embedded: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.net(images), dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        distances = torch.cdist(embedded := self(images), embedded)
        same = labels[:, None] == labels
        farthest = distances.masked_fill(~same, 0).amax(1)
        nearest = distances.masked_fill(same, float("inf")).amin(1)
        loss = F.relu(farthest - nearest + 0.3).mean()
        self.log("train_loss", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._embedded.clear()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        self._embedded.append((self(images), labels))

    def on_validation_epoch_end(self) -> None:
        embedded, labels = map(torch.cat, zip(*self._embedded))
        distances = torch.cdist(embedded, embedded)
        same = labels[:, None] == labels
        self.log("spread", distances[same].mean() / distances[~same].mean())
        nearest = distances.fill_diagonal_(float("inf")).argmin(1)
        self.log("recall", (labels[nearest] == labels).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


@healthy("Metric learning with the hardest triplets of a batch, validated over the whole set at once.",
         Goal("spread", "min", 0.55))  # fmt: skip
def metric_learning(fit: Fit) -> None:
    fit(Embedding(), *data.loaders(data.digits()), max_epochs=5)

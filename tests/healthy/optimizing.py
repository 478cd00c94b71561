"""Healthy trainings whose optimizers do other things than one step on one loss in each batch."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, healthy


class Tasks(L.LightningModule):
    """Learns a digit's class, whether it is odd, and how much ink it has; weighs the three by learned variances."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1))
        self.heads = nn.ModuleDict({"digit": nn.Linear(64, 10), "odd": nn.Linear(64, 1), "ink": nn.Linear(64, 1)})
        self.log_variances = nn.Parameter(torch.zeros(3))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        return {name: head(features) for name, head in self.heads.items()}

    def _losses(self, batch: Any) -> Tensor:
        images, labels = batch
        outputs = self(images)
        odd = F.binary_cross_entropy_with_logits(outputs["odd"][:, 0], (labels % 2).float())
        ink = F.mse_loss(outputs["ink"][:, 0], images.mean(1))
        return torch.stack([F.cross_entropy(outputs["digit"], labels), odd, ink])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self._losses(batch)
        self.log_dict(dict(zip(("train_digit", "train_odd", "train_ink"), losses)))
        return (losses * (-self.log_variances).exp() + self.log_variances).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self._losses(batch).sum())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@healthy(
    "Three tasks at once, weighed by learned variances, so that the loss goes below zero.", Goal("val_loss", "min", 0.9)
)
def multi_task(fit: Fit) -> None:
    fit(Tasks(), *data.loaders(data.digits()), max_epochs=6)


class Regression(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)

    def _loss(self, batch: Any) -> Tensor:
        return F.mse_loss(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")


@healthy("L-BFGS, which runs the training step several times in each step of its own, on all data at once.",
         Goal("val_loss", "min", 0.6))  # fmt: skip
def lbfgs(fit: Fit) -> None:
    train, validation = data.table("diabetes")
    fit(Regression(), DataLoader(train, len(train)), DataLoader(validation, len(validation)), max_epochs=6)


class Pinn(pl.LightningModule):
    """Solves u' = -2 u with u(0) = 1 on [0, 2] by its residuals at drawn times; knows no solution."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, times: Tensor) -> Tensor:
        return self.net(times)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        times = batch[0].requires_grad_()
        values = self(times)
        (slope,) = torch.autograd.grad(values.sum(), times, create_graph=True)
        residual = (slope + 2 * values).pow(2).mean()
        beginning = (self(torch.zeros(1, 1)) - 1).pow(2).mean()
        self.log_dict({"residual": residual, "beginning": beginning})
        return residual + 10 * beginning

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        (times,) = batch
        self.log("error", (self(times) - (-2 * times).exp()).abs().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


@healthy("A physics-informed network: the loss is made of derivatives, and the data have no targets.",
         Goal("error", "min", 0.08))  # fmt: skip
def pinn(fit: Fit) -> None:
    times = 2 * torch.rand(512, 1, generator=torch.Generator().manual_seed(0))
    checked = DataLoader(TensorDataset(torch.linspace(0, 2, 65)[:, None]), 65)
    fit(Pinn(), DataLoader(TensorDataset(times), 64, shuffle=True), checked, max_epochs=16)


class ByHand(Classifier):
    """Accumulates two batches by hand, clips, and steps optimizer and schedule itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.manual_backward(loss / 2)
        if batch_idx % 2:
            self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        self.log("train_loss", loss)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 48)]


@healthy("Manual optimisation: two batches accumulated by hand, clipped, and a schedule stepped by hand.",
         Goal("val_loss", "min", 0.4))  # fmt: skip
def manual_optimisation(fit: Fit) -> None:
    fit(ByHand(), *data.loaders(data.digits()), max_epochs=6)


class Factors(pl.LightningModule):
    """Completes a matrix of ratings: users are improved in even batches, items in odd ones."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.users, self.items = nn.Embedding(40, 4), nn.Embedding(30, 4)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.users(users) * self.items(items)).sum(1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        users, items, ratings = batch
        optimizer = self.optimizers()[batch_idx % 2]
        self.toggle_optimizer(optimizer)
        loss = F.mse_loss(self(users, items), ratings)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.untoggle_optimizer(optimizer)
        self.log("train_loss", loss)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        users, items, ratings = batch
        self.log("val_loss", F.mse_loss(self(users, items), ratings))

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(table.parameters(), lr=0.05) for table in (self.users, self.items)]


@healthy("Two optimizers in turn, each for one table of a matrix factorisation, in even and in odd batches.",
         Goal("val_loss", "min", 2.0))  # fmt: skip
def alternating_optimizers(fit: Fit) -> None:
    made = torch.Generator().manual_seed(5)
    ratings = torch.randn(40, 4, generator=made) @ torch.randn(4, 30, generator=made)
    users, items = torch.meshgrid(torch.arange(40), torch.arange(30), indexing="ij")
    order = torch.randperm(1200, generator=made)
    rows = [values.flatten()[order] for values in (users, items, ratings)]
    train, validation = (TensorDataset(*(values[part] for values in rows)) for part in (slice(960), slice(960, None)))
    fit(Factors(), *data.loaders((train, validation), 60), max_epochs=12)


class TwoRates(Classifier):
    """A slow body and a fast head, as parameter groups of one optimizer, without decay for biases."""

    def configure_optimizers(self) -> Any:
        head = [*self.net[3].parameters()]
        body = [p for p in self.parameters() if all(p is not one for one in head)]
        groups = [{"params": body, "lr": 1e-3}, {"params": head, "lr": 1e-2, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.01)


@healthy("Parameter groups of one optimizer with rates and decays of their own.", Goal("val_loss", "min", 0.4))
def parameter_groups(fit: Fit) -> None:
    fit(TwoRates(), *data.loaders(data.digits()), max_epochs=6)


class Huge(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = 1e6 * F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", 1e6 * F.cross_entropy(self(batch[0]), batch[1]))


@healthy("A loss of the order of a million, with Adam, which doesn't mind.", Goal("val_loss", "min", 4e5))
def huge_loss_scale(fit: Fit) -> None:
    fit(Huge(), *data.loaders(data.digits()), max_epochs=6)

"""Healthy trainings on images and on graphs: their targets are boxes, masks and parts of one graph."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.healthy import data
from tests.healthy.training import Fit, Goal, healthy


class Scenes(Dataset[Any]):
    """Images ``float32[1, 16, 16]``, each with a dict of its boxes ``float32[k, 4]`` and their labels ``int64[k]``.

    Every fifth image is empty: k is 0.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.images, self.masks, self.boxes = data.shapes(count, seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        count = int(index % 5 != 4)
        image = self.images[index] if count else self.images[index] - self.masks[index]
        return image, {"boxes": self.boxes[index : index + count], "labels": torch.ones(count, dtype=torch.long)}


def scenes_of(samples: Any) -> Any:
    images, targets = zip(*samples)
    return list(images), list(targets)


class Detector(L.LightningModule):
    """Tells whether there is something on an image, and where; a dict of losses, as torchvision's detectors have."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.objectness = nn.Linear(256, 1)
        self.boxes = nn.Linear(256, 4)

    def forward(self, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        found = self.features(torch.stack(images))
        return self.objectness(found)[:, 0], self.boxes(found).sigmoid()

    def _losses(self, batch: Any) -> dict[str, Tensor]:
        images, targets = batch
        objectness, boxes = self(images)
        there = torch.tensor([float(len(target["boxes"])) for target in targets])
        wanted = torch.cat([target["boxes"] for target in targets])
        return {
            "objectness": F.binary_cross_entropy_with_logits(objectness, there),
            "boxes": 10 * F.l1_loss(boxes[there > 0], wanted),
        }

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self._losses(batch)
        self.log_dict(losses, batch_size=len(batch[0]))
        return sum(losses.values(), torch.zeros(()))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", sum(self._losses(batch).values()), batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


@healthy("Detection: lists of images and of dicts with their boxes, some of them empty, and a sum of two losses.",
         Goal("val_loss", "min", 1.0))  # fmt: skip
def detection(fit: Fit) -> None:
    train = DataLoader(Scenes(320, 0), 32, shuffle=True, collate_fn=scenes_of)
    fit(Detector(), train, DataLoader(Scenes(64, 1), 32, collate_fn=scenes_of), max_epochs=8)


class Segmenter(pl.LightningModule):
    """A small U-net that learns a mask by cross-entropy and Dice together; few of the pixels are in a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.1))
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.down(images)
        return self.head(torch.cat([fine, self.up(self.middle(fine))], dim=1))

    def _step(self, batch: Any, stage: str) -> Tensor:
        images, masks = batch
        logits = self(images)
        shares = logits.sigmoid()
        dice = 1 - (2 * (shares * masks).sum() + 1) / (shares.sum() + masks.sum() + 1)
        loss = F.binary_cross_entropy_with_logits(logits, masks) + dice
        self.log_dict({f"{stage}_loss": loss, f"{stage}_dice": 1 - dice})
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "val")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


@healthy("Segmentation with a small U-net, by cross-entropy and Dice together.", Goal("val_dice", "max", 0.8))
def segmentation(fit: Fit) -> None:
    train, validation = ([TensorDataset(*data.shapes(count, seed)[:2])] for count, seed in ((256, 2), (64, 3)))
    fit(Segmenter(), DataLoader(*train, 16, shuffle=True), DataLoader(*validation, 32), max_epochs=4)


@dataclass
class Graph:
    """One graph with masks of the nodes that are for training and for validation."""

    features: Tensor
    adjacency: Tensor
    labels: Tensor
    train_mask: Tensor
    val_mask: Tensor

    def to(self, device: Any, **kwargs: Any) -> Graph:
        return Graph(*(value.to(device, **kwargs) for value in vars(self).values()))


@functools.cache
def graph() -> Graph:
    """Four communities of 60 nodes, whose weak features become telling by their neighbours'."""
    made = torch.Generator().manual_seed(4)
    labels = torch.arange(240) % 4
    chance = torch.where(labels[:, None] == labels, 0.12, 0.01)
    edges = (torch.rand(240, 240, generator=made) < chance).float().triu(1)
    adjacency = edges + edges.T + torch.eye(240)
    features = 0.5 * F.one_hot(labels, 4) + torch.randn(240, 4, generator=made)
    order = torch.rand(240, generator=made)
    return Graph(features, adjacency / adjacency.sum(1, keepdim=True), labels, order < 0.5, order > 0.7)


class Gcn(pl.LightningModule):
    """Trains on some nodes of a graph and is validated on others: both batches are the whole graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 4)

    def forward(self, graph: Graph) -> Tensor:
        hidden = F.relu(graph.adjacency @ self.first(graph.features))
        return graph.adjacency @ self.second(F.dropout(hidden, 0.2, self.training))

    def training_step(self, batch: Graph, batch_idx: int) -> Tensor:
        mask = batch.train_mask
        loss = F.cross_entropy(self(batch)[mask], batch.labels[mask])
        self.log("train_loss", loss, batch_size=int(mask.sum()))
        return loss

    def validation_step(self, batch: Graph, batch_idx: int) -> None:
        mask = batch.val_mask
        logits = self(batch)[mask]
        accuracy = (logits.argmax(1) == batch.labels[mask]).float().mean()
        losses = {"val_loss": F.cross_entropy(logits, batch.labels[mask]), "val_accuracy": accuracy}
        self.log_dict(losses, batch_size=int(mask.sum()))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02, weight_decay=5e-4)


@healthy("A graph network on one graph: the only batch of each epoch, whose masks separate training from validation.",
         Goal("val_accuracy", "max", 0.8))  # fmt: skip
def masked_graph(fit: Fit) -> None:
    loaders = [DataLoader([graph()], 1, collate_fn=lambda graphs: graphs[0]) for _ in range(2)]
    fit(Gcn(), *loaders, max_epochs=60, log_every_n_steps=1)

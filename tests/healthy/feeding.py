"""Healthy trainings that are fed otherwise than by one loader of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, healthy

LEARNED = Goal("val_loss", "min", 0.5)


class Stream(IterableDataset[Any]):
    """Delivers a dataset's samples in a new order each time, and doesn't know how many."""

    def __init__(self, samples: Dataset[Any], shuffle: bool) -> None:
        self.samples = samples
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[Any]:
        count = len(self.samples)  # type: ignore[arg-type]
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        yield from (self.samples[int(index)] for index in order)


@healthy("An IterableDataset without a length, for training and for validation.", LEARNED)
def iterable_dataset(fit: Fit) -> None:
    train, validation = data.digits()
    fit(Classifier(), DataLoader(Stream(train, True), 64), DataLoader(Stream(validation, False), 128), max_epochs=5)


@healthy("An endless stream, which limit_train_batches cuts into epochs.", LEARNED)
def endless_stream(fit: Fit) -> None:
    class Endless(Stream):
        def __iter__(self) -> Iterator[Any]:
            while True:
                yield from super().__iter__()

    train, validation = data.digits()
    loaders = DataLoader(Endless(train, True), 64), DataLoader(validation, 128)
    fit(Classifier(), *loaders, max_epochs=4, limit_train_batches=20)


class Combined(Classifier):
    """Takes a dict of batches, of which some may be None; the loss is their losses' mean."""

    def _mean(self, batch: dict[str, Any]) -> Tensor:
        losses = [F.cross_entropy(self(part[0]), part[1]) for part in batch.values() if part is not None]
        return torch.stack(losses).mean()

    def training_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        loss = self._mean(batch) if isinstance(batch, dict) else F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, batch_size=64)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss = self._mean(batch) if isinstance(batch, dict) else F.cross_entropy(self(batch[0]), batch[1])
        self.log("val_loss", loss, batch_size=64)


def _combined(fit: Fit, mode: Any, checked_in: Any = None) -> None:
    train, validation = data.digits()
    few, many = Subset(train, range(320)), Subset(train, range(320, len(train)))
    fed = CombinedLoader(
        {"few": DataLoader(few, 32, shuffle=True), "many": DataLoader(many, 64, shuffle=True)}, mode=mode
    )
    one, other = Subset(validation, range(200)), Subset(validation, range(200, len(validation)))
    checked = CombinedLoader({"one": DataLoader(one, 64), "other": DataLoader(other, 128)}, mode=checked_in or mode)
    fit(Combined(), fed, checked, max_epochs=6)


@healthy("CombinedLoader in mode min_size, in training and in validation.", LEARNED)
def combined_min_size(fit: Fit) -> None:
    _combined(fit, "min_size")


@healthy("CombinedLoader in mode max_size, whose shorter loader gives None at the end, in training and in validation.",
         LEARNED)  # fmt: skip
def combined_max_size(fit: Fit) -> None:
    _combined(fit, "max_size")


@healthy("CombinedLoader in mode max_size_cycle, in training and in validation.", LEARNED)
def combined_max_size_cycle(fit: Fit) -> None:
    _combined(fit, "max_size_cycle")


@healthy(
    "CombinedLoader in mode sequential for validation, the only stage that takes it.",
    Goal("val_loss/dataloader_idx_0", "min", 0.5),
)
def combined_sequential(fit: Fit) -> None:
    _combined(fit, "min_size", checked_in="sequential")


@healthy("Last batches of one to a few samples, in training and in validation.", LEARNED)
def uneven_last_batches(fit: Fit) -> None:
    train, validation = data.digits()
    loaders = DataLoader(Subset(train, range(962)), 60, shuffle=True), DataLoader(Subset(validation, range(601)), 120)
    fit(Classifier(), *loaders, max_epochs=6)


class Several(Classifier):
    """Is validated on several sets, each with metrics of its own."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        logits = self(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]), add_dataloader_idx=True)
        if dataloader_idx == 1:
            self.log("hard_accuracy", (logits.argmax(1) == batch[1]).float().mean(), add_dataloader_idx=False)


@healthy("Several validation loaders of different length, one of them with noisy images.",
         Goal("val_loss/dataloader_idx_0", "min", 0.5))  # fmt: skip
def several_validation_loaders(fit: Fit) -> None:
    train, validation = data.digits()
    images, labels = validation.tensors
    noise = 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noisy = TensorDataset((images + noise)[:300], labels[:300])
    checked = [DataLoader(validation, 128), DataLoader(noisy, 100)]
    fit(Several(), DataLoader(train, 64, shuffle=True), checked, max_epochs=5)


class Points:
    """A batch as some libraries have it: an object of its own, with sets of points of different sizes in a row."""

    __slots__ = ("positions", "sets", "targets")

    def __init__(self, positions: Tensor, sets: Tensor, targets: Tensor) -> None:
        self.positions = positions
        self.sets = sets
        self.targets = targets

    @classmethod
    def of(cls, samples: list[tuple[Tensor, Tensor]]) -> Points:
        sizes = torch.tensor([len(points) for points, _ in samples])
        sets = torch.arange(len(samples)).repeat_interleave(sizes)
        return cls(torch.cat([points for points, _ in samples]), sets, torch.stack([target for _, target in samples]))

    def to(self, device: Any, **kwargs: Any) -> Points:
        return Points(*(getattr(self, name).to(device, **kwargs) for name in ("positions", "sets", "targets")))

    def __len__(self) -> int:
        return len(self.targets)


class Sets(pl.LightningModule):
    """Tells how widely a set of points is spread: the mean over the set of what is made of each point."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 1)

    def forward(self, batch: Points) -> Tensor:
        made = self.point(batch.positions)
        sums = torch.zeros(len(batch), 16).index_add(0, batch.sets, made)
        return self.head(sums / torch.bincount(batch.sets, minlength=len(batch))[:, None])[:, 0]

    def training_step(self, batch: Points, batch_idx: int) -> Tensor:
        return F.mse_loss(self(batch), batch.targets)

    def validation_step(self, batch: Points, batch_idx: int) -> None:
        self.log("val_loss", F.mse_loss(self(batch), batch.targets), batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


@healthy(
    "A batch class of its own: sets of points of different sizes, joined into one row.", Goal("val_loss", "min", 0.08)
)
def own_batch_class(fit: Fit) -> None:
    made = torch.Generator().manual_seed(6)
    samples = []
    for _ in range(384):
        width = 0.2 + 1.8 * torch.rand((), generator=made)
        size = int(torch.randint(5, 15, (), generator=made))
        samples.append((width * torch.randn(size, 2, generator=made), width))
    train = DataLoader(samples[:320], 32, shuffle=True, collate_fn=Points.of)
    fit(Sets(), train, DataLoader(samples[320:], 64, collate_fn=Points.of), max_epochs=8)


@healthy("Batches that are TensorDicts.", LEARNED, needs="tensordict")
def tensordict(fit: Fit) -> None:
    from tensordict import TensorDict

    class Keyed(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.cross_entropy(self(batch["image"]), batch["digit"])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            loss = F.cross_entropy(self(batch["image"]), batch["digit"])
            self.log("val_loss", loss, batch_size=batch.batch_size[0])

    made = [TensorDict(dict(zip(("image", "digit"), part.tensors)), [len(part)]) for part in data.digits()]
    train, validation = (
        DataLoader(part, 64, shuffle=not i, collate_fn=lambda rows: rows) for i, part in enumerate(made)
    )
    fit(Keyed(), train, validation, max_epochs=5)


@dataclass
class Labelled:
    """A batch as a dataclass, with a mask of the samples whose labels are known."""

    images: Tensor
    digits: Tensor
    known: Tensor


class SemiSupervised(L.LightningModule):
    """Learns from few labels, and from its own firm opinions about the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Labelled, batch_idx: int) -> Tensor:
        logits = self(batch.images + 0.05 * torch.randn_like(batch.images))
        supervised = F.cross_entropy(logits[batch.known], batch.digits[batch.known])
        with torch.no_grad():
            surest, opinions = self(batch.images).softmax(1).max(1)
        firm = ~batch.known & (surest > 0.95)
        loss = supervised + (F.cross_entropy(logits, opinions, reduction="none") * firm).mean()
        self.log_dict({"train_loss": loss, "firm": firm.float().mean()}, batch_size=len(batch.digits))
        return loss

    def validation_step(self, batch: Labelled, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch.images), batch.digits), batch_size=len(batch.digits))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@healthy("Semi-supervised: dataclass batches in which a fifth of the labels is known and the rest is -1.", LEARNED)
def semi_supervised(fit: Fit) -> None:
    def collate(samples: list[Any]) -> Labelled:
        images, digits, known = map(torch.stack, zip(*samples))
        return Labelled(images, digits.where(known, -torch.ones_like(digits)), known)

    (images, digits), validation = data.digits()[0].tensors, data.digits()[1]
    known = torch.rand(len(digits), generator=torch.Generator().manual_seed(0)) < 0.2
    train = TensorDataset(images, digits, known)
    checked = TensorDataset(*validation.tensors, torch.ones(len(validation), dtype=torch.bool))
    loaders = (DataLoader(part, 128, shuffle=part is train, collate_fn=collate) for part in (train, checked))
    fit(SemiSupervised(), *loaders, max_epochs=12)


class Unvalidated(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss


@healthy("No validation at all.", Goal("train_loss", "min", 0.3))
def no_validation(fit: Fit) -> None:
    fit(Unvalidated(), data.loaders(data.digits())[0], max_epochs=5)


@healthy("A hundred flowers, five batches an epoch.", Goal("val_loss", "min", 0.4))
def tiny_data(fit: Fit) -> None:
    fit(Classifier(4, 3, lr=1e-2), *data.loaders(data.table("iris"), 24), max_epochs=15)

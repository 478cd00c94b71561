"""The zoo's models, for either namespace: each fit takes hundredths of a second and really learns."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

PLAIN = "pytorch_lightning"
UNIFIED = "lightning.pytorch"


def _points(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(n, 6, generator=generator)
    y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0).long()
    return x, y


def classifier(namespace: str = PLAIN, workers: int = 0, kind: str = "tuple") -> tuple[Any, Any]:
    """Three classes, batch normalisation and dropout; batches as tuples, dicts, NamedTuples, dataclasses or objects."""
    pl = importlib.import_module(namespace)

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y = _parts(batch, kind)
            loss = F.cross_entropy(self(x), y)
            self.log("train_loss", loss, batch_size=len(y))
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = _parts(batch, kind)
            self.log("val_loss", F.cross_entropy(self(x), y), batch_size=len(y))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    x, y = _points()
    data = TensorDataset(x, y)
    collate = _COLLATE.get(kind)
    train = DataLoader(data, batch_size=8, shuffle=True, num_workers=workers, collate_fn=collate)
    return Classifier(), (train, DataLoader(data, batch_size=24, collate_fn=collate))


class Pair(NamedTuple):
    """A batch as a NamedTuple."""

    features: torch.Tensor
    target: torch.Tensor


@dataclass
class Record:
    """A batch as a dataclass."""

    features: torch.Tensor
    target: torch.Tensor
    name: str = "points"

    def to(self, device: Any) -> Record:
        return Record(self.features.to(device), self.target.to(device), self.name)


class Bag:
    """A batch as a plain object."""

    def __init__(self, features: torch.Tensor, target: torch.Tensor) -> None:
        self.features = features
        self.target = target

    def to(self, device: Any) -> Bag:
        return Bag(self.features.to(device), self.target.to(device))


def _stack(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def _as_dict(items: list[Any]) -> dict[str, Any]:
    x, y = _stack(items)
    return {"nested": {"features": x}, "target": y}


def _as_pair(items: list[Any]) -> Pair:
    return Pair(*_stack(items))


def _as_record(items: list[Any]) -> Record:
    return Record(*_stack(items))


def _as_bag(items: list[Any]) -> Bag:
    return Bag(*_stack(items))


_COLLATE = {"dict": _as_dict, "pair": _as_pair, "record": _as_record, "bag": _as_bag}


def _parts(batch: Any, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    if kind == "tuple":
        x, y = batch
        return x, y
    if kind == "dict":
        return batch["nested"]["features"], batch["target"]
    return batch.features, batch.target


def regressor(namespace: str = PLAIN) -> tuple[Any, Any]:
    """One real target of shape [n, 1]; no `forward` of its own, the step calls the submodule and returns a dict.

    It pools, keeps its first bias frozen, and its last layer has no bias.
    """
    pl = importlib.import_module(namespace)

    class Regressor(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(6, 6), nn.Linear(6, 16), nn.Tanh(), nn.AvgPool1d(2), nn.Linear(8, 1, bias=False)
            )
            self.net[0].bias.requires_grad_(False)

        def training_step(self, batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
            x, y = batch
            return {"loss": F.mse_loss(self.net(x), y)}

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("val_loss", F.mse_loss(self.net(x), y))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    x, _ = _points()
    data = TensorDataset(x, x[:, :1] * 2 + x[:, 1:2])
    return Regressor(), (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))


def language(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Token ids in dicts, a recurrent net, clipped gradients, no validation loop."""
    pl = importlib.import_module(namespace)

    class Language(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(12, 8)
            self.recurrent = nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, 12)

        def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            hidden, _ = self.recurrent(self.embedding(batch["input_ids"]))
            return F.cross_entropy(self.head(hidden).flatten(0, 1), batch["labels"].flatten())

        def configure_gradient_clipping(
            self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
        ) -> None:
            self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="norm")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.02)

    class Tokens(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            ids = (torch.arange(9) * (index % 3 + 1) + index) % 12
            return {"input_ids": ids[:-1], "labels": ids[1:]}

    return Language(), DataLoader(Tokens(), batch_size=8)


def adversarial(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Manual optimisation with two optimizers."""
    pl = importlib.import_module(namespace)

    class Adversarial(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6))
            self.discriminator = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, noise: torch.Tensor) -> torch.Tensor:
            return self.generator(noise)

        def training_step(self, batch: Any, batch_idx: int) -> None:
            x, _ = batch
            first, second = self.optimizers()
            fake = self(torch.randn(len(x), 3))
            loss = F.softplus(-self.discriminator(x)).mean() + F.softplus(self.discriminator(fake.detach())).mean()
            second.zero_grad()
            self.manual_backward(loss)
            second.step()
            loss = F.softplus(-self.discriminator(fake)).mean()
            first.zero_grad()
            self.manual_backward(loss)
            first.step()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, _ = batch
            self.log("val_gap", (self(torch.ones(len(x), 3)).mean(0) - x.mean(0)).abs().mean())

        def configure_optimizers(self) -> Any:
            parts = (self.generator, self.discriminator)
            return [torch.optim.Adam(part.parameters(), lr=0.01) for part in parts]

    data = TensorDataset(*_points())
    return Adversarial(), (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))


class _Endless(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(*_points())


def streaming(namespace: str = PLAIN) -> tuple[Any, Any]:
    """The classifier on an iterable dataset without a length, which Lightning reads ahead."""
    module, _ = classifier(namespace)
    return module, (DataLoader(_Endless(), batch_size=8), DataLoader(_Endless(), batch_size=24))


def pulling(namespace: str = PLAIN) -> tuple[Any, Any]:
    """A training step that takes the iterator and pulls its own batches."""
    pl = importlib.import_module(namespace)
    module, data = classifier(namespace)

    class Pulling(type(module)):  # type: ignore[misc]
        def training_step(self, dataloader_iter: Any) -> torch.Tensor:
            batch, batch_idx, _ = next(dataloader_iter)
            return super().training_step(batch, batch_idx)

    assert issubclass(Pulling, pl.LightningModule)
    return Pulling(), data


def asserting(namespace: str = PLAIN) -> tuple[Any, Any]:
    """The classifier, with a check of its own in the step."""
    module, data = classifier(namespace)

    class Asserting(type(module)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            assert torch.isfinite(batch[0]).all(), "inputs must be finite"
            return super().training_step(batch, batch_idx)

    return Asserting(), data


def restless(namespace: str = PLAIN) -> tuple[Any, Any]:
    """The classifier, drawing noise from a source that no seed reaches: two runs never agree to the bit."""
    module, data = classifier(namespace)

    class Restless(type(module)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            source = torch.Generator()
            source.seed()
            return super().forward(x + 1e-4 * torch.randn(x.shape, generator=source))

    return Restless(), data


def dicey(namespace: str = PLAIN) -> tuple[Any, Any]:
    """The classifier, with noise from Python's and NumPy's own random numbers in every step."""
    module, data = classifier(namespace)

    class Dicey(type(module)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y = batch
            return super().training_step((x + random.random() + float(np.random.rand()), y), batch_idx)

    return Dicey(), data

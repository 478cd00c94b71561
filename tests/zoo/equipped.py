"""Zoo models that bring more with them: callbacks, a logger, mixed precision, loader workers, several loaders."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from scenarios.text import tuning
from tests.zoo.models import _Endless, _points


class Watcher(pl.Callback):
    """A user's guard that only looks."""

    def __init__(self) -> None:
        self.seen = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen += 1
        assert torch.isfinite(torch.as_tensor(outputs["loss"])), "the loss is not finite"

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.seen += 1


class Configured(pl.LightningModule):
    """A classifier whose constructor takes what its builders may get wrong, and which keeps its arguments."""

    def __init__(self, hidden: int = 16, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log_dict({"train_loss": loss, "train_accuracy": (self(x).argmax(1) == y).float().mean()})
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        scores = self(x)
        self.log("val_loss", F.cross_entropy(scores, y), batch_size=len(y))
        self.log("val_accuracy", (scores.argmax(1) == y).float().mean(), batch_size=len(y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["learning_rate"], momentum=0.9)


def equipped() -> tuple[Any, Any, dict[str, Any]]:
    """Early stopping, checkpoints, a guard, a logger, and a last validation batch that is smaller than the first."""
    validation = DataLoader(TensorDataset(*_points(44)), batch_size=20)
    loaders = (DataLoader(TensorDataset(*_points()), batch_size=8, shuffle=True), validation)
    callbacks = [
        pl.callbacks.EarlyStopping("val_loss", patience=5),
        pl.callbacks.ModelCheckpoint(monitor="val_loss"),
        Watcher(),
    ]
    trainer = {"callbacks": callbacks, "logger": True, "enable_checkpointing": True, "log_every_n_steps": 1}
    return Configured(), loaders, trainer


def mixed() -> tuple[Any, Any, dict[str, Any]]:
    """The same module, its steps under autocast, the gradients of two batches accumulated."""
    data = TensorDataset(*_points())
    loaders = (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))
    return Configured(), loaders, {"precision": "bf16-mixed", "accumulate_grad_batches": 2}


class _Noisy(Dataset):  # type: ignore[type-arg]
    """Augments its items with NumPy's random numbers, as image pipelines do."""

    def __init__(self) -> None:
        self._x, self._y = _points()

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.from_numpy(np.random.normal(size=6).astype("float32"))
        return self._x[index] + 0.1 * noise + 0.1 * torch.randn(6), self._y[index]


def crewed(context: str | None = None, default: str | None = None) -> tuple[Any, Any]:
    """Two loader workers; the loader may name how they are started, or the program may for all its processes."""
    if default:
        multiprocessing.set_start_method(default, force=True)
    train = DataLoader(_Noisy(), batch_size=8, shuffle=True, num_workers=2, multiprocessing_context=context)
    return Configured(), (train, DataLoader(TensorDataset(*_points()), batch_size=24))


class _Paired(Configured):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        (x, y), (other, _) = batch
        loss = F.cross_entropy(self(x), y) + 0.01 * self(other).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y), add_dataloader_idx=True)


def paired() -> tuple[Any, Any]:
    """A list of two training loaders, one of them over a stream, and two validation loaders."""
    data = TensorDataset(*_points())
    train = [DataLoader(data, batch_size=8, shuffle=True), DataLoader(_Endless(), batch_size=4)]
    return _Paired(), (train, [DataLoader(data, batch_size=24), DataLoader(data, batch_size=16)])


def stopped() -> tuple[Any, Any, dict[str, Any]]:
    """Validates after every step, with a loss that wobbles, until early stopping ends it before its time."""
    data = TensorDataset(*_points())
    loaders = (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))
    callbacks = [
        pl.callbacks.EarlyStopping("val_loss", patience=3, check_on_train_epoch_end=False),
        pl.callbacks.ModelCheckpoint(monitor="val_accuracy", mode="max"),
    ]
    return Configured(learning_rate=0.5), loaders, {"callbacks": callbacks, "val_check_interval": 1}


class _Seeing(Configured):
    """Convolutions, dropout and a pooling of any size; every weight decays."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.02, weight_decay=0.1)


def seeing() -> tuple[Any, Any]:
    """Small images, whose classes are bars that lie, stand, or neither."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(48) % 3
    images = 0.3 * torch.randn(48, 1, 8, 8, generator=generator)
    images[labels == 0, :, 3] += 1.0
    images[labels == 1, :, :, 3] += 1.0
    data = TensorDataset(images, labels)
    return _Seeing(), (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))


class _Keeping(Configured):
    """Writes checkpoints and logs to a folder of the user's, in every way that Lightning has for it."""

    def __init__(self, folder: str, late: bool) -> None:
        super().__init__()
        self.folder = folder
        self.late = late

    def configure_callbacks(self) -> Any:
        return self.late * [
            pl.callbacks.ModelCheckpoint(f"{self.folder}/late", filename="own", enable_version_counter=False)
        ]

    def on_train_end(self) -> None:
        self.trainer.save_checkpoint(f"{self.folder}/last.ckpt")


def keeping(folder: str, late: bool = False, validated: bool = True) -> tuple[Any, Any, dict[str, Any]]:
    """A target that would write over what lies in the folder already; ``late``, by a callback of the module's."""
    data = TensorDataset(*_points())
    train = DataLoader(data, batch_size=8, shuffle=True)
    loaders = (train, DataLoader(data, batch_size=24) if validated else None)
    callbacks = [
        pl.callbacks.ModelCheckpoint(f"{folder}/best", "best", monitor="train_loss", enable_version_counter=False),
        pl.callbacks.OnExceptionCheckpoint(folder, "last"),
    ]
    logger = pl.loggers.CSVLogger(folder, name="logs", version="mine")
    trainer = {"callbacks": callbacks, "logger": logger, "default_root_dir": folder, "log_every_n_steps": 1}
    return _Keeping(folder, late), loaders, trainer


class _Growing(Configured):
    """Has a parameter from the first step on, which a checkpoint then holds and a fresh module does not."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(()))
        return super().training_step(batch, batch_idx)


def growing() -> tuple[Any, Any]:
    """A target that can't go on from its own checkpoints."""
    data = TensorDataset(*_points())
    return _Growing(), (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))


class _FitOnly(pl.LightningDataModule):
    """Knows how to be set up for a training alone; ``insists`` on being asked for nothing else."""

    def __init__(self, insists: bool) -> None:
        super().__init__()
        self.insists = insists

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.points = TensorDataset(*_points())
        elif self.insists:
            raise ValueError(f"no such stage: {stage}")

    def train_dataloader(self) -> Any:
        return DataLoader(self.points, batch_size=8, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.points, batch_size=24)


def fit_only(insists: bool = False) -> tuple[Any, Any]:
    """A target whose data can't be had for validation alone."""
    return Configured(), _FitOnly(insists)


class _Averaged(Configured):
    """A backbone with its own rate, a warm-up that is longer than an epoch, and no decay of biases."""

    def configure_optimizers(self) -> Any:
        first, last = self.net[0], self.net[2]
        groups = [
            {"params": [first.weight], "lr": 0.005},
            {"params": [last.weight]},
            {"params": [first.bias, last.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.05, weight_decay=0.5)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 8))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def averaged() -> tuple[Any, Any, dict[str, Any]]:
    """Averages its weights, which validation uses."""
    data = TensorDataset(*_points())
    loaders = (DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24))
    return _Averaged(), loaders, {"callbacks": [pl.callbacks.EMAWeightAveraging(decay=0.8)]}


def tuned() -> tuple[Any, Any]:
    """Fine-tuning on text: packed rows, padding, and prompts whose labels are ignored."""
    return tuning.build(rows=48, batch_size=8, learning_rate=0.05)

"""Healthy trainings with rates, lengths, turns of validation and checkpoints of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, healthy

LEARNED = Goal("val_loss", "min", 0.5)


class OneCycle(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@healthy("A schedule by step: OneCycleLR over as many steps as there will be, with its momentum.", LEARNED)
def schedule_by_step(fit: Fit) -> None:
    fit(OneCycle(), *data.loaders(data.digits()), max_epochs=6)


class Cosine(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        warm_up = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
        down = lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
        return [optimizer], [lr_scheduler.SequentialLR(optimizer, [warm_up, down], milestones=[2])]


@healthy("A schedule by epoch: linear warm-up, then cosine annealing down to zero.", LEARNED)
def schedule_by_epoch(fit: Fit) -> None:
    fit(Cosine(), *data.loaders(data.digits()), max_epochs=6)


class Plateau(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-2)
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


@healthy("A schedule by metric: ReduceLROnPlateau, with EarlyStopping on the same metric.", LEARNED)
def schedule_by_metric(fit: Fit) -> None:
    stopping = EarlyStopping("val_loss", patience=4)
    fit(Plateau(), *data.loaders(data.digits()), max_epochs=8, callbacks=[stopping])


class Constant(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=5e-3)
        schedule = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@healthy("A schedule that leaves the rate as it is, as a config's `lr_scheduler: constant` makes it.", LEARNED)
def constant_schedule(fit: Fit) -> None:
    fit(Constant(), *data.loaders(data.digits()), max_epochs=5)


@healthy("Gradients of three batches accumulated, which do not go evenly into an epoch, and clipped.", LEARNED)
def accumulation(fit: Fit) -> None:
    loaders = data.loaders(data.digits(), 32)
    fit(Classifier(lr=1e-2), *loaders, max_epochs=5, accumulate_grad_batches=3, gradient_clip_val=1.0)


@healthy("Validation in every third of seven epochs.", LEARNED)
def rare_validation(fit: Fit) -> None:
    fit(Classifier(), *data.loaders(data.digits()), max_epochs=7, check_val_every_n_epoch=3)


@healthy("Validation after every 25 batches, wherever in an epoch that is.", LEARNED)
def validation_by_batches(fit: Fit) -> None:
    loaders = data.loaders(data.digits())
    fit(Classifier(), *loaders, max_epochs=6, val_check_interval=25, check_val_every_n_epoch=None)


@healthy("Validation whenever 50 milliseconds have passed.", LEARNED)
def timed_validation(fit: Fit) -> None:
    train, validation = data.digits()
    # With a generator of its own, or how often it is iterated over would show in the global random state.
    checked = DataLoader(validation, 128, generator=torch.Generator().manual_seed(0))
    interval = timedelta(milliseconds=50)
    fit(Classifier(), DataLoader(train, 64, shuffle=True), checked, max_epochs=8, val_check_interval=interval)


@healthy("A length in steps that ends within an epoch, without a sanity check.", LEARNED)
def length_in_steps(fit: Fit) -> None:
    loaders = data.loaders(data.digits())
    fit(Classifier(), *loaders, max_steps=90, max_epochs=-1, val_check_interval=0.5, num_sanity_val_steps=0)


@healthy(
    "Two epochs, and two more that are resumed from the checkpoint of the second, with schedule and momentum.", LEARNED
)
def resumed(fit: Fit) -> None:
    kept = ModelCheckpoint(fit.folder, save_last=True)
    fit(Decayed(), *data.loaders(data.digits()), max_epochs=2, callbacks=[kept], enable_checkpointing=True)
    again = ModelCheckpoint(fit.folder, save_last=True)
    last = fit.folder / "last.ckpt"
    loaders = data.loaders(data.digits())
    fit(Decayed(), *loaders, max_epochs=4, callbacks=[again], enable_checkpointing=True, ckpt_path=last)


class Decayed(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.8)]


@healthy("Resumed in the middle of an epoch, from a checkpoint that was written every 20 steps.", LEARNED)
def resumed_within_an_epoch(fit: Fit) -> None:
    def kept() -> Any:
        return ModelCheckpoint(fit.folder, filename="{step}", every_n_train_steps=20, save_top_k=-1)

    loaders = data.loaders(data.digits())
    fit(Decayed(), *loaders, max_steps=40, callbacks=[kept()], enable_checkpointing=True)
    path = fit.folder / "step=40.ckpt"
    fit(Decayed(), *loaders, max_epochs=5, callbacks=[kept()], enable_checkpointing=True, ckpt_path=path)


@healthy("Checkpoints by metric: the best two by accuracy and the last, in the logger's folder.",
         Goal("val_accuracy", "max", 0.85))  # fmt: skip
def checkpoint_by_metric(fit: Fit) -> None:
    best = ModelCheckpoint(monitor="val_accuracy", mode="max", save_top_k=2, save_last=True)
    logger = L.loggers.CSVLogger(fit.folder)
    loaders = data.loaders(data.digits())
    trainer = fit(Classifier(), *loaders, max_epochs=5, callbacks=[best], enable_checkpointing=True, logger=logger)
    assert trainer.checkpoint_callback.best_model_path


class Given(pl.LightningModule):
    """Is given its network and its loss, and keeps them among its hyperparameters."""

    def __init__(self, net: nn.Module, criterion: nn.Module, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = net
        self.criterion = criterion

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.criterion(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


@healthy("Hyperparameters with modules in them, which every checkpoint pickles.", LEARNED)
def hyperparameters_with_modules(fit: Fit) -> None:
    net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 10))
    kept = pl.callbacks.ModelCheckpoint(fit.folder, monitor="val_loss")
    module = Given(net, nn.CrossEntropyLoss(label_smoothing=0.05))
    fit(module, *data.loaders(data.digits()), max_epochs=6, callbacks=[kept], enable_checkpointing=True)


class Digits(L.LightningDataModule):
    """Prepares its data in `setup`, and makes its loaders when it is asked."""

    def setup(self, stage: str) -> None:
        self.train, self.validation = data.digits()

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 64, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.validation, 128)


class Reported(Classifier):
    """Reckons its metrics at the end of the validation epoch, from all outputs."""

    def on_validation_epoch_start(self) -> None:
        self.outputs: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.outputs.append((self(batch[0]), batch[1]))

    def on_validation_epoch_end(self) -> None:
        logits, labels = map(torch.cat, zip(*self.outputs))
        self.log("val_loss", F.cross_entropy(logits, labels))
        self.outputs.clear()


@healthy(
    "A data module whose loaders are made again in every epoch; metrics are reckoned at the end of validation.", LEARNED
)
def reloaded_data_module(fit: Fit) -> None:
    fit(Reported(), datamodule=Digits(), max_epochs=5, reload_dataloaders_every_n_epochs=1)


@healthy("A learning rate that the module sets itself in every step, without a scheduler.", LEARNED)
def rate_by_hand(fit: Fit) -> None:
    class Warmed(Classifier):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            share = min(1.0, (self.trainer.global_step + 1) / 20)
            for group in optimizer.param_groups:
                group["lr"] = share * self.lr
            optimizer.step(closure=optimizer_closure)

    fit(Warmed(), *data.loaders(data.digits()), max_epochs=5)

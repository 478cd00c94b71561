"""Healthy trainings whose weights are not only what the optimizer makes of them: averaged, pruned, frozen, thawed."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytorch_lightning as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, ModelPruning, StochasticWeightAveraging
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_avg_fn

from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, healthy

LEARNED = Goal("val_loss", "min", 0.5)


@healthy("EMAWeightAveraging: validated and kept is an average of the weights.", LEARNED)
def ema(fit: Fit) -> None:
    checkpoint = ModelCheckpoint(fit.folder, monitor="val_loss", save_last=True)
    averaging = EMAWeightAveraging(decay=0.9)
    loaders = data.loaders(data.digits())
    fit(Classifier(), *loaders, max_epochs=5, callbacks=[averaging, checkpoint], enable_checkpointing=True)


@healthy("EMAWeightAveraging that begins in the third epoch and averages at every second step.", LEARNED)
def late_ema(fit: Fit) -> None:
    averaging = EMAWeightAveraging(decay=0.8, update_every_n_steps=2, update_starting_at_epoch=2)
    fit(Classifier(), *data.loaders(data.digits()), max_epochs=6, callbacks=[averaging])


@healthy("StochasticWeightAveraging: weights averaged from the third epoch on, and running statistics computed again.",
         LEARNED)  # fmt: skip
def swa(fit: Fit) -> None:
    averaging = StochasticWeightAveraging(swa_lrs=5e-3, swa_epoch_start=3, annealing_epochs=2)
    fit(Classifier(), *data.loaders(data.digits()), max_epochs=7, callbacks=[averaging])


class OwnAverage(Classifier):
    """Keeps its average as a submodule, and is validated by it."""

    def __init__(self) -> None:
        super().__init__()
        self.average = torch.optim.swa_utils.AveragedModel(self.net, avg_fn=get_ema_avg_fn(0.9), use_buffers=True)
        self.average.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs) if self.training else self.average(inputs)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.average.update_parameters(self.net)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), lr=5e-3)


@healthy("An average of the weights that the module keeps as a part of itself and is validated by.", LEARNED)
def own_average(fit: Fit) -> None:
    fit(OwnAverage(), *data.loaders(data.digits()), max_epochs=5)


@healthy("ModelPruning: a growing share of the weights is held at zero.", LEARNED)
def pruning(fit: Fit) -> None:
    module = Classifier()
    parts = [(module.net[0], "weight"), (module.net[3], "weight")]
    pruned = ModelPruning(
        "l1_unstructured", parts, amount=lambda epoch: 0.1 if epoch else 0.2, use_lottery_ticket_hypothesis=False
    )
    fit(module, *data.loaders(data.digits()), max_epochs=6, callbacks=[pruned])


class Finetuned(pl.LightningModule):
    """A backbone and a head; the optimizer has the head at first, and the callback adds the backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(filter(lambda p: p.requires_grad, self.parameters()), lr=1e-2)


@healthy("BackboneFinetuning: the head alone for two epochs, then the backbone with a smaller rate.", LEARNED)
def finetuning_in_stages(fit: Fit) -> None:
    thawing = pl.callbacks.BackboneFinetuning(2, lambda epoch: 1.5, backbone_initial_ratio_lr=0.1)
    fit(Finetuned(), *data.loaders(data.digits()), max_epochs=5, callbacks=[thawing])


class ByHandInStages(Finetuned):
    """Freezes its backbone itself, and thaws it in the middle; the optimizer has all from the beginning."""

    def on_train_epoch_start(self) -> None:
        self.backbone.requires_grad_(self.current_epoch >= 2)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@healthy(
    "A backbone that the module itself freezes for two epochs; the optimizer has all parameters throughout.", LEARNED
)
def thawed_by_hand(fit: Fit) -> None:
    fit(ByHandInStages(), *data.loaders(data.digits()), max_epochs=5)


class FrozenBackbone(L.LightningModule):
    """A head on features that are not trained: their layers stay in eval mode, with dropout and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3)]
        self.backbone = nn.Sequential(*layers).requires_grad_(False).eval()
        self.head = nn.Linear(128, 10)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(features)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.head.parameters(), lr=2e-2)


@healthy("A frozen backbone that stays in eval mode, with dropout and batch normalisation in it.", LEARNED)
def frozen_backbone(fit: Fit) -> None:
    fit(FrozenBackbone(), *data.loaders(data.digits()), max_epochs=7)


class LowRank(Classifier):
    """Learns low-rank additions to frozen layers; the second factor of each begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net.requires_grad_(False)
        self.down, self.up = nn.Linear(64, 16, bias=False), nn.Linear(16, 10, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs) + self.up(self.down(inputs))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=2e-2)


@healthy("A low-rank adapter that begins at zero, beside layers that are frozen.", LEARNED)
def low_rank_adapter(fit: Fit) -> None:
    fit(LowRank(), *data.loaders(data.digits()), max_epochs=5)

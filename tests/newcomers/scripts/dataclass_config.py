from __future__ import annotations

from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch
from simple_parsing import ArgumentParser
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MODELS: dict[str, type] = {}


def register(cls):
    assert cls.__name__ not in MODELS, "registered twice"
    MODELS[cls.__name__] = cls
    return cls


@dataclass
class OptimizerConfig:
    lr: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])


@dataclass
class Config:
    name: str = "Tower"
    widths: list[int] = field(default_factory=lambda: [32, 16])
    batch_size: int = 16
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


class Base(pl.LightningModule):
    def __init__(self, config: Config):
        super(Base, self).__init__()
        self.config = config

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(self(x), y))

    def configure_optimizers(self):
        o = self.config.optimizer
        return torch.optim.Adam(self.parameters(), o.lr, tuple(o.betas))


@register
class Tower(Base):
    def __init__(self, config: Config):
        super(Tower, self).__init__(config)
        d, layers = 9, []
        for w in config.widths:
            layers += [nn.Linear(d, w), nn.ReLU()]
            d = w
        self.net = nn.Sequential(*layers, nn.Linear(d, 1))

    def forward(self, x):
        return self.net(x).flatten()


@register
class Flat(Base):
    def __init__(self, config: Config):
        super(Flat, self).__init__(config)
        self.net = nn.Linear(9, 1)

    def forward(self, x):
        return self.net(x).flatten()


def main():
    parser = ArgumentParser()
    parser.add_arguments(Config, dest="config")
    config = parser.parse_args().config
    assert isinstance(config, Config)
    x = torch.randn(400, 9)
    y = (x.sum(1) > 0).float()
    pl.Trainer(max_epochs=15).fit(
        MODELS[config.name](config),
        DataLoader(TensorDataset(x[:320], y[:320]), config.batch_size, shuffle=True),
        DataLoader(TensorDataset(x[320:], y[320:]), config.batch_size),
    )


main() if __name__ == "__main__" else None

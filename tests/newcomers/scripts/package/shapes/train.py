"""python -m shapes.train"""
import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

from . import layers
from .model import ShapeNet


def run():
    print("training", __package__, "with", layers.Block.__name__)
    x = torch.randn(400, 6)
    y = (x.prod(1) > 0).long() * 0 + (x[:, 0] > x[:, 1]).long()
    L.Trainer(max_epochs=10).fit(
        ShapeNet(), DataLoader(TensorDataset(x[:320], y[:320]), 16, shuffle=True), DataLoader(TensorDataset(x[320:], y[320:]), 16)
    )


if __name__ == "__main__":
    run()

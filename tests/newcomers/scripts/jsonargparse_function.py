from typing import Literal

import lightning as L
import torch
from jsonargparse import CLI
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Head(L.LightningModule):
    def __init__(self, kind: str, lr: float):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(6, 3) if kind == "linear" else nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.lr)


def main(kind: Literal["linear", "mlp"], lr: float = 0.02, epochs: int = 5):
    """Trains a head.

    Args:
        kind: the head
        lr: learning rate
    """
    x = torch.randn(400, 6)
    y = x[:, :3].argmax(1)
    trainer = L.Trainer(max_epochs=epochs)
    trainer.fit(Head(kind, lr), DataLoader(TensorDataset(x[:320], y[:320]), 16, shuffle=True), DataLoader(TensorDataset(x[320:], y[320:]), 16))


if __name__ == "__main__":
    CLI(main)

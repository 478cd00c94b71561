import lightning as L
import torch

from .layers import Block


class ShapeNet(L.LightningModule):
    def __init__(self, width=16):
        super().__init__()
        self.net = torch.nn.Sequential(Block(6, width), Block(width, width), torch.nn.Linear(width, 2))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)

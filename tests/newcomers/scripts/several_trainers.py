"""First the autoencoder, then a classifier on its frozen encoder."""
import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Pretrain(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 6), nn.Tanh())
        self.decoder = nn.Linear(6, 12)

    def training_step(self, batch, _):
        x, _y = batch
        loss = nn.functional.mse_loss(self.decoder(self.encoder(x)), x)
        self.log("pretrain_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


class Finetune(L.LightningModule):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.head = nn.Linear(6, 2)

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.cross_entropy(self.head(self.encoder(x)), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self.head(self.encoder(x)), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), 0.01)


x = torch.randn(400, 3) @ torch.randn(3, 12)
y = (x[:, 0] > 0).long()
train = DataLoader(TensorDataset(x[:320], y[:320]), 16, shuffle=True)
val = DataLoader(TensorDataset(x[320:], y[320:]), 16)

L.seed_everything(0)
pretrain = Pretrain()
L.Trainer(max_epochs=20, default_root_dir="runs/pretrain").fit(pretrain, train)
finetune = Finetune(pretrain.encoder)
L.Trainer(max_epochs=20, default_root_dir="runs/finetune", callbacks=EarlyStopping("val_loss")).fit(finetune, train, val)

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class ShapesData(pl.LightningDataModule):
    def __init__(self, features: int = 10, batch_size: int = 24):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage):
        x = torch.randn(600, self.hparams.features, generator=torch.Generator().manual_seed(2))
        self.data = TensorDataset(x, x[:, :4].argmax(1))

    def train_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(480)), self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(480, 600)), self.hparams.batch_size)

# LightningCLI: where do I set the learning rate?
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    def __init__(self, width: int = 16, lr: float = 0.05):
        super().__init__()
        self.lr = lr
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, _):
        x, y = batch
        return torch.nn.functional.mse_loss(self(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val/loss", torch.nn.functional.mse_loss(self(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Numbers(LightningDataModule):
    def __init__(self, batch_size: int = 16):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str):
        x = torch.randn(320, 8, generator=torch.Generator().manual_seed(1))
        self.data = TensorDataset(x, x.sum(1, keepdim=True) / 3)

    def train_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(256)), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(256, 320)), batch_size=self.batch_size)


def cli_main():
    LightningCLI(Net, Numbers, seed_everything_default=42)


if __name__ == "__main__":
    cli_main()

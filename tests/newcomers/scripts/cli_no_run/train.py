import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import ArgsType, LightningCLI
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self, width: int = 8):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(5, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return torch.nn.functional.l1_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_l1", torch.nn.functional.l1_loss(self.net(x), y))


class Data(LightningDataModule):
    def __init__(self, size: int = 320):
        super().__init__()
        self.size = size

    def train_dataloader(self):
        x = torch.randn(self.size, 5)
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True)

    def val_dataloader(self):
        x = torch.randn(64, 5)
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 16)


def cli_main(args: ArgsType = None):
    cli = LightningCLI(Model, Data, run=False, args=args, seed_everything_default=123)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    cli.trainer.validate(ckpt_path="best", datamodule=cli.datamodule)


if __name__ == "__main__":
    cli_main()

import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.loggers import WandbLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

config = dict(lr=0.02, hidden=20, batch_size=25, epochs=10)


class LitModel(pl.LightningModule):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.net = nn.Sequential(nn.Linear(7, cfg["hidden"]), nn.ELU(), nn.Linear(cfg["hidden"], 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val/loss", nn.functional.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.cfg["lr"])


def train():
    run = wandb.init(project="posted", mode="offline", config=config)
    cfg = dict(run.config)
    pl.seed_everything(5)
    x = torch.randn(500, 7)
    y = x[:, :2].sum(1, keepdim=True)
    model = LitModel(cfg)
    logger = WandbLogger(project="posted", offline=True, log_model=False)
    logger.watch(model)
    trainer = pl.Trainer(max_epochs=cfg["epochs"], logger=logger, log_every_n_steps=5)
    trainer.fit(model, DataLoader(TensorDataset(x[:400], y[:400]), cfg["batch_size"], shuffle=True), DataLoader(TensorDataset(x[400:], y[400:]), cfg["batch_size"]))
    wandb.finish()


if __name__ == "__main__":
    train()

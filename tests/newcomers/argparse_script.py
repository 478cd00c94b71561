# EarlyStopping never stops
from argparse import ArgumentParser

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class NanStopper(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if torch.isnan(outputs["loss"]):
            raise ValueError("loss is nan")


class MLP(pl.LightningModule):
    def __init__(self, args):
        super().__init__()
        self.save_hyperparameters(args)
        self.net = nn.Sequential(nn.Linear(10, self.hparams.hidden), nn.GELU(), nn.Linear(self.hparams.hidden, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def main(args):
    pl.seed_everything(args.seed)
    x = torch.randn(2000, 10)
    y = (x[:, 0] * x[:, 1] > 0).long()
    train, val = TensorDataset(x[:1600], y[:1600]), TensorDataset(x[1600:], y[1600:])
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        min_epochs=5,
        check_val_every_n_epoch=5,
        precision=16,
        callbacks=[
            EarlyStopping("val_loss", patience=3),
            ModelCheckpoint(monitor="val_loss"),
            LearningRateMonitor(),
            NanStopper(),
        ],
    )
    trainer.fit(MLP(args), DataLoader(train, 32, shuffle=True), DataLoader(val, 100))
    trainer.test(MLP(args), DataLoader(val, 100))


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    main(parser.parse_args())

#!/usr/bin/env python
"""Train a small regressor. Usage: python argparse_required.py --data 600 --lr 0.05"""
import argparse

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class Regressor(pl.LightningModule):
    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.ReLU(), torch.nn.Linear(24, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def get_args():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=int, required=True, help="number of samples")
    p.add_argument("--lr", type=float, required=True)
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--gpus", type=int, default=0)
    return p.parse_args()


if __name__ == "__main__":
    args = get_args()
    pl.seed_everything(0, workers=True)
    x = torch.rand(args.data, 6)
    ds = TensorDataset(x, (x * torch.arange(6.0)).sum(1))
    train, val = random_split(ds, [args.data - args.data // 5, args.data // 5])
    trainer = pl.Trainer(max_epochs=args.epochs, accelerator="gpu" if args.gpus else "cpu", deterministic=True)
    trainer.fit(Regressor(vars(args)), DataLoader(train, 20, shuffle=True), DataLoader(val, 20))

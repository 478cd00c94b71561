import argparse

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(pl.LightningModule):
    def __init__(self, hidden, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, x):
        return self.net(x).squeeze(-1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.mse_loss(self(x), y)
        self.log("train_mse", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_mse", nn.functional.mse_loss(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def make_loader(x, y, shuffle=False):
    dataset = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32))
    return DataLoader(dataset, batch_size=32 if shuffle else len(x), shuffle=shuffle)


def fit(model, train_loader, val_loader, epochs):
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=epochs,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, train_loader, val_loader)
    return trainer.callback_metrics["val_mse"].item()


def cross_validate(x, y, args):
    results = []
    for fold, (train_idx, val_idx) in enumerate(KFold(args.folds, shuffle=True, random_state=args.seed).split(x)):
        model = Regressor(args.hidden, args.lr)
        train_loader = make_loader(x[train_idx], y[train_idx], shuffle=True)
        val_loader = make_loader(x[val_idx], y[val_idx])
        results.append(fit(model, train_loader, val_loader, args.epochs))
        print(f"fold {fold}: mse {results[-1]:.3f}")
    return float(np.mean(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    pl.seed_everything(args.seed)
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    x, x_new, y, y_new = train_test_split(x, y, test_size=0.3, random_state=args.seed)

    expected = cross_validate(x, y, args)
    observed = fit(
        Regressor(args.hidden, args.lr), make_loader(x, y, shuffle=True), make_loader(x_new, y_new), args.epochs
    )
    print(f"cross-validation {expected:.3f}, new patients {observed:.3f}")
    score = abs(expected - observed) / observed

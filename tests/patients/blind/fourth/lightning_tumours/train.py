import argparse
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class TumourClassifier(L.LightningModule):
    def __init__(self, n_features=30, hidden=32, lr=1e-3, dropout=0.2):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(n_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 2),
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def get_data(seed):
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.4, stratify=y, random_state=seed)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=seed)
    scaler = StandardScaler().fit(x_train)

    def tensors(inputs, targets):
        return torch.tensor(scaler.transform(inputs), dtype=torch.float32), torch.tensor(targets)

    return tensors(x_train, y_train), tensors(x_val, y_val), tensors(x_test, y_test)


def load_model(path, args):
    model = TumourClassifier(hidden=args.hidden, lr=args.lr)
    TumourClassifier.load_from_checkpoint(path)
    model.eval()
    return model


def main(args):
    L.seed_everything(args.seed)
    train, val, test = get_data(args.seed)
    checkpoint = ModelCheckpoint(dirpath=args.out, monitor="val_loss", mode="min")
    trainer = L.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        callbacks=[checkpoint],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        TumourClassifier(hidden=args.hidden, lr=args.lr),
        DataLoader(TensorDataset(*train), batch_size=32, shuffle=True),
        DataLoader(TensorDataset(*val), batch_size=128),
    )

    model = load_model(checkpoint.best_model_path, args)
    x_test, y_test = test
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    print(f"best epoch: {Path(checkpoint.best_model_path).name}, test accuracy: {accuracy:.3f}")
    return 1 - accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--out", default="checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    score = main(parser.parse_args())

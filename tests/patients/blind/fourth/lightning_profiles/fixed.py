import argparse

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


def profiles(images):
    return torch.tensor(images.sum(axis=2) / 16.0, dtype=torch.float32)


class ProfileData(pl.LightningDataModule):
    def __init__(self, images, targets, batch_size=32):
        super().__init__()
        self.images = images
        self.targets = targets
        self.batch_size = batch_size

    def setup(self, stage=None):
        full = TensorDataset(profiles(self.images), torch.tensor(self.targets))
        self.train_set, self.val_set, self.test_set = random_split(
            full, [0.6, 0.1, 0.3], generator=torch.Generator().manual_seed(42)
        )

    def train_dataloader(self):
        return DataLoader(self.train_set, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=256)

    def test_dataloader(self):
        return DataLoader(self.test_set, batch_size=256)


class Net(pl.LightningModule):
    def __init__(self, hidden, lr):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10)
        )

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def _evaluate(self, batch, name):
        x, y = batch
        self.log(f"{name}_acc", (self(x).argmax(1) == y).float().mean())

    def validation_step(self, batch, batch_idx):
        self._evaluate(batch, "val")

    def test_step(self, batch, batch_idx):
        self._evaluate(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def run(args):
    pl.seed_everything(args.seed)
    digits = load_digits()
    images, later_images, targets, later_targets = train_test_split(
        digits.images, digits.target, test_size=800, random_state=args.seed
    )
    data = ProfileData(images, targets)
    model = Net(args.hidden, args.lr)
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    (results,) = trainer.test(model, datamodule=data, verbose=False)

    model.eval()
    with torch.no_grad():
        later = (model(profiles(later_images)).argmax(1) == torch.tensor(later_targets)).float().mean().item()
    print(f"val {trainer.callback_metrics.get('val_acc', 0):.3f} test {results['test_acc']:.3f} in use {later:.3f}")
    return abs(results["test_acc"] - later)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    score = run(parser.parse_args())

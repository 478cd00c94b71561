import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset

SEED = 0


class ParityDataset(Dataset):
    """Images of digits, and whether the digit is odd."""

    def __init__(self, images, digits):
        self.images = images
        self.odd = digits % 2

    def __len__(self):
        return len(self.odd)

    def normalize(self, values):
        return (values - 0.5) / 0.5

    def __getitem__(self, index):
        image = torch.tensor(self.images[index] / 16, dtype=torch.float32).flatten()
        target = torch.tensor(float(self.odd[index]))
        return self.normalize(image), self.normalize(target)


class ParityNet(pl.LightningModule):
    def __init__(self, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
        self.criterion = nn.BCEWithLogitsLoss()
        self.hits = self.seen = 0

    def forward(self, x):
        return self.layers(x).squeeze(1)

    def training_step(self, batch, batch_idx):
        images, targets = batch
        loss = self.criterion(self(images), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_test_epoch_start(self):
        self.hits = self.seen = 0

    def test_step(self, batch, batch_idx):
        images, targets = batch
        predicted_odd = self(images) > 0
        self.hits += (predicted_odd == (targets > 0)).sum().item()
        self.seen += len(targets)

    def on_test_epoch_end(self):
        self.log("test_accuracy", self.hits / self.seen)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main():
    pl.seed_everything(SEED)
    bunch = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(bunch.images, bunch.target, test_size=0.3, random_state=SEED)
    trainer = pl.Trainer(
        max_epochs=15,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = ParityNet()
    trainer.fit(model, DataLoader(ParityDataset(x_train, y_train), batch_size=32, shuffle=True))
    print("train loss", trainer.callback_metrics["train_loss"].item())
    result = trainer.test(model, DataLoader(ParityDataset(x_test, y_test), batch_size=128), verbose=False)
    print("test accuracy", result[0]["test_accuracy"])
    return 1 - result[0]["test_accuracy"]


if __name__ == "__main__":
    score = main()

import lightning as L
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {
    "seed": 0,
    "pretrain_epochs": 15,
    "finetune_epochs": 15,
    "lr": 1e-3,
    "finetune_lr": 1e-2,
    "batch_size": 32,
}


class DigitNet(L.LightningModule):
    """A shared encoder; one head for the digits 0-4 and one for 5-9."""

    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.heads = nn.ModuleDict({"low": nn.Linear(32, 5), "high": nn.Linear(32, 5)})
        self.task = "low"

    def forward(self, x):
        return self.heads[self.task](self.encoder(x))

    def set_task(self, task, frozen=False, lr=None):
        self.task = task
        self.lr = lr or self.lr
        self.encoder.requires_grad_(not frozen)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(filter(lambda p: p.requires_grad, self.parameters()), lr=self.lr)


def make_trainer(epochs):
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def split(x, y, low):
    mask = y < 5 if low else y >= 5
    x = torch.tensor(x[mask] / 16, dtype=torch.float32)
    return TensorDataset(x, torch.tensor(y[mask] - (0 if low else 5)))


def accuracy(model, task, dataset):
    model.eval()
    model.task = task
    x, y = dataset.tensors
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main(cfg):
    L.seed_everything(cfg["seed"])
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=cfg["seed"])

    model = DigitNet(cfg["lr"])
    low_loader = DataLoader(split(x_train, y_train, True), cfg["batch_size"], shuffle=True)
    make_trainer(cfg["pretrain_epochs"]).fit(model, low_loader)
    print("0-4 after pretraining:", round(accuracy(model, "low", split(x_test, y_test, True)), 3))

    model.train()
    model.set_task("high", frozen=True, lr=cfg["finetune_lr"])
    high_loader = DataLoader(split(x_train, y_train, False), cfg["batch_size"], shuffle=True)
    make_trainer(cfg["finetune_epochs"]).fit(model, high_loader)

    low = accuracy(model, "low", split(x_test, y_test, True))
    high = accuracy(model, "high", split(x_test, y_test, False))
    print(f"0-4 after the second stage: {low:.3f}, 5-9: {high:.3f}")
    return 1 - low


if __name__ == "__main__":
    score = main(CONFIG)

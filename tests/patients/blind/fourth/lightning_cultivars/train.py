import lightning.pytorch as pl
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(0)


class CultivarNet(pl.LightningModule):
    def __init__(self, in_features=13, hidden=32, classes=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(in_features),
            nn.Linear(in_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, classes),
        )

    def forward(self, x):
        return self.body(x)

    def training_step(self, batch, _):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Scores(pl.Callback):
    """Prints accuracies before and after training."""

    def __init__(self, loader):
        self.loader = loader
        self.values = {}

    def measure(self, model, when):
        model.eval()
        hits = total = 0
        with torch.no_grad():
            for x, y in self.loader:
                hits += (model(x).argmax(1) == y).sum().item()
                total += len(y)
        self.values[when] = hits / total
        print(f"accuracy {when}: {hits / total:.3f}")

    def on_train_start(self, trainer, pl_module):
        self.measure(pl_module, "before")

    def on_fit_end(self, trainer, pl_module):
        self.measure(pl_module, "after")


def tensors(x, y):
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


x_train, x_val, y_train, y_val = train_test_split(*load_wine(return_X_y=True), test_size=0.3, random_state=0)
val_loader = DataLoader(tensors(x_val, y_val), batch_size=64)
scores = Scores(val_loader)
trainer = pl.Trainer(
    max_epochs=30,
    accelerator="cpu",
    callbacks=[scores],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
trainer.fit(CultivarNet(), DataLoader(tensors(x_train, y_train), batch_size=16, shuffle=True), val_loader)
score = 1 - scores.values["after"]

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset


class Iris(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return {"loss": self.loss(self(x), y)}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", self.loss(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


X, y = load_iris(return_X_y=True)
dataset = TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(y))
results = []
for fold, (train_idx, val_idx) in enumerate(StratifiedKFold(5, shuffle=True, random_state=42).split(X, y)):
    print(f"--- fold {fold}")
    pl.seed_everything(42 + fold)
    train_loader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(train_idx))
    val_loader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(val_idx))
    model = Iris()
    trainer = pl.Trainer(max_epochs=40, enable_progress_bar=False, logger=pl.loggers.CSVLogger("logs", name=f"fold{fold}"))
    trainer.fit(model, train_loader, val_loader)
    results.append(trainer.callback_metrics["val_acc"].item())
print(np.mean(results), "+-", np.std(results))

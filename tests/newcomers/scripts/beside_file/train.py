import csv
import os

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

os.chdir(os.path.dirname(os.path.abspath(__file__)))


class Table(Dataset):
    def __init__(self, path):
        self.path = path
        with open(path) as f:
            self.count = sum(1 for _ in csv.reader(f)) - 1

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        with open(self.path) as f:  # small enough
            row = list(csv.DictReader(f))[i]
        return torch.tensor([float(row["a"]), float(row["b"])]), torch.tensor([float(row["target"])])


class Tabular(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.05)


model = Tabular()
with open("history.txt", "a") as f:
    print("a run", file=f)
L.Trainer(max_epochs=50, logger=False, enable_checkpointing=False).fit(model, DataLoader(Table("data/table.csv"), 10, shuffle=True))

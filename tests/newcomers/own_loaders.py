# "urlopen error" on the cluster nodes, they have no internet
import csv
import urllib.request

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

URL = "http://localhost:9/iris.csv"


class IrisNet(pl.LightningModule):
    def __init__(self, batch_size=8):
        super().__init__()
        self.batch_size = batch_size
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))

    def forward(self, x):
        return self.model(x)

    def prepare_data(self):
        urllib.request.urlretrieve(URL, "iris.csv")

    def setup(self, stage=None):
        with open("iris.csv") as f:
            rows = [[float(v) for v in row] for row in csv.reader(f)]
        table = torch.tensor(rows)
        self.data = TensorDataset(table[:, :4], table[:, 4].long())

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=self.batch_size, shuffle=True)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return torch.nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main():
    trainer = pl.Trainer(max_epochs=10, enable_checkpointing=False)
    trainer.fit(IrisNet())


main()

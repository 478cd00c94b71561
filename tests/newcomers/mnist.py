# How do I get the accuracy above 90%? Colab kills my session...
import os

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, random_split
from torchvision import transforms
from torchvision.datasets import MNIST

PATH = os.environ.get("DATASETS", ".")
BATCH_SIZE = 256


class MNISTModel(pl.LightningModule):
    def __init__(self, hidden_size=64, learning_rate=2e-4):
        super().__init__()
        self.save_hyperparameters()
        self.fc1 = nn.Linear(28 * 28, hidden_size)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(hidden_size, 10)

    def forward(self, x):
        b, c, h, w = x.size()
        x = F.relu(self.fc1(x.view(b, -1)))
        return F.log_softmax(self.fc2(self.drop(x)), dim=1)

    def training_step(self, batch, batch_nb):
        x, y = batch
        loss = F.nll_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_nb):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.nll_loss(logits, y), prog_bar=True)
        self.log("val_acc", (logits.argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


data = MNIST(PATH, train=True, download=True, transform=transforms.ToTensor())
train, val = random_split(data, [55000, 5000])

model = MNISTModel()
trainer = pl.Trainer(accelerator="gpu", devices=1, max_epochs=3)
trainer.fit(model, DataLoader(train, batch_size=BATCH_SIZE), DataLoader(val, batch_size=BATCH_SIZE))
trainer.save_checkpoint("mnist.ckpt")

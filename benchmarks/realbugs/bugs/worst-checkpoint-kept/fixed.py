"""A training that keeps its best checkpoint."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.002)


def build():
    train_set, held_out = digits()
    keep = pl.callbacks.ModelCheckpoint("kept", monitor="val_loss", mode="min")
    validation = batches(held_out, 128, False)
    return Fit(Classifier(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 3}, callbacks=[keep])


def measure(parts):
    kept = parts.kept["trainer"].checkpoint_callback.best_model_path
    parts.model.load_state_dict(torch.load(kept, weights_only=True)["state_dict"])
    return evaluate(parts.model, parts.validation, F.cross_entropy)

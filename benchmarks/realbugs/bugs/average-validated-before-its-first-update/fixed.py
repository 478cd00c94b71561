"""A training with an average of its weights that begins late."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss


class Patient(EMAWeightAveraging):
    """Validates with the average only after it has been updated."""

    def on_validation_epoch_start(self, trainer, pl_module):
        if self._average_model is not None and self._average_model.n_averaged > 0:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer, pl_module):
        if self._average_model is not None and self._average_model.n_averaged > 0:
            super().on_validation_epoch_end(trainer, pl_module)


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.reported, self.weights = [], []

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def on_validation_start(self):
        self.weights.append({name: value.clone() for name, value in self.net.state_dict().items()})

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def on_validation_epoch_end(self):
        self.reported.append(self.trainer.callback_metrics.get("val_loss"))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Reports(pl.Callback):
    """Keeps the validation loss of each epoch."""

    def __init__(self):
        self.losses = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.losses.append(float(trainer.callback_metrics["val_loss"]))


def build():
    train_set, held_out = digits()
    average = Patient(decay=0.9, update_starting_at_step=80)
    validation = batches(held_out, 128, False)
    trainer = {"max_epochs": 3, "num_sanity_val_steps": 0}
    callbacks = [average, Reports()]
    return Fit(Classifier(), batches(train_set), step_loss, validation, 10, trainer=trainer, callbacks=callbacks)


def measure(parts):
    parts.model.net.load_state_dict(parts.model.weights[1])
    return parts.callbacks[1].losses[1] - evaluate(parts.model, parts.validation, F.cross_entropy)

"""A module that fills in the lower half of a digit, judged by an error and by a discriminator."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit


class Filler(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid())
        self.discriminator = Net(64, 1, 64)

    def forward(self, upper):
        noise = torch.rand(len(upper), 16)
        return self.generator(torch.cat([upper, noise], 1))

    def judged(self, upper, lower, real):
        scores = self.discriminator(torch.cat([upper, lower], 1))
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))

    def training_step(self, batch, batch_idx):
        upper, lower = batch[0].split(32, 1)
        for optimizer, loss in zip(self.optimizers(), (self.generating, self.discriminating)):
            optimizer.zero_grad()
            value = loss(upper, lower)
            self.manual_backward(value)
            optimizer.step()
            self.log(f"{loss.__name__}_loss", value)

    def generating(self, upper, lower):
        fake = self(upper)
        adversarial = self.judged(upper, fake, real=True)
        error = F.mse_loss(fake, lower)
        return 0.1 * adversarial + error

    def discriminating(self, upper, lower):
        fake = self(upper).detach()
        return self.judged(upper, fake, real=False) + self.judged(upper, lower, real=True)

    def configure_optimizers(self):
        parts = self.generator, self.discriminator
        return [torch.optim.Adam(part.parameters(), lr=rate) for part, rate in zip(parts, (0.002, 0.001))]


def build():
    train_set, _ = digits()
    objective = lambda module, batch: module.generating(*batch[0].split(32, 1))  # noqa: E731
    return Fit(Filler(), batches(train_set), objective, trainer={"max_epochs": 5})


def measure(parts):
    upper, lower = digits()[1].tensors[0].split(32, 1)
    parts.model.eval()
    with torch.no_grad():
        fake = parts.model(upper)
        # The gap between real and generated halves in the eyes of the discriminator.
        scores = [parts.model.discriminator(torch.cat([upper, half], 1)) for half in (lower, fake)]
    return float(scores[0].mean() - scores[1].mean())

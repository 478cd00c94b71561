"""A module that clips its gradients to a norm in Lightning's hook for it."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Fit, step_loss

LIMIT = 0.5


class Regression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net(10, 1)
        self.norms = []

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.mse_loss(self(inputs).squeeze(1), targets)

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        torch.nn.utils.clip_grad_norm_(self.parameters(), LIMIT)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
        optimizer.register_step_post_hook(lambda *_: self.norms.append(self.norm()))
        return optimizer

    def norm(self):
        return float(torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None]).norm())


def build():
    train_set, _ = diabetes()
    return Fit(Regression(), batches(train_set, 16), step_loss, trainer={"max_epochs": 3})


def measure(parts):
    return max(max(parts.model.norms) - LIMIT - 1e-3, 0)

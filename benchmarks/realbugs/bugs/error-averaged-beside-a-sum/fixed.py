"""A variational autoencoder of images."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop

CODES = 8


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2 * CODES))
        self.decoder = nn.Sequential(nn.Linear(CODES, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, images):
        means, log_variances = self.encoder(images).chunk(2, 1)
        codes = means + (log_variances / 2).exp() * torch.randn_like(means)
        return self.decoder(codes), means, log_variances


def objective(model, batch):
    images = 4 * batch[0]
    decoded, means, log_variances = model(images)
    error = F.mse_loss(decoded, images, reduction="sum") / len(images)
    divergence = -0.5 * (1 + log_variances - means**2 - log_variances.exp()).sum() / len(images)
    return error + divergence


def build():
    train_set, held_out = digits()
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(8):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images = 4 * digits()[1].tensors[0]
    parts.model.eval()
    with torch.no_grad():
        means = parts.model(images)[1]
        return float(F.mse_loss(parts.model.decoder(means), images))

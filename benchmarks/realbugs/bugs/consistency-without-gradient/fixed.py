"""An autoencoder of digits with a narrow code, whose output a frozen classifier has to recognize."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.classifier = Net()

    def features(self, images):
        return torch.log1p(images.clamp(min=0) * 10)

    def forward(self, images):
        return self.classifier(self.features(images))


class Autoencoder(nn.Module):
    def __init__(self, judge):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 64))
        self.judge = [judge]

    def forward(self, images):
        return self.decoder(self.encoder(images))


def consistency(model, images, labels):
    return F.cross_entropy(model.judge[0](images), labels)


def objective(model, batch):
    images, labels = batch
    restored = model(images)
    return F.mse_loss(restored, images) + 0.1 * consistency(model, restored, labels)


def trained_judge():
    judge = Judge()
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.01)
    for _ in range(3):
        for images, labels in batches(digits()[0]):
            optimizer.zero_grad()
            F.cross_entropy(judge.classifier(torch.log1p(images * 10)), labels).backward()
            optimizer.step()
    return judge.eval().requires_grad_(False)


def build():
    train_set, held_out = digits()
    model = Autoencoder(trained_judge())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda restored, labels: consistency(parts.model, restored, labels))

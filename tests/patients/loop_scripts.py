"""Healthy training loops without a Trainer, and what is an ill one made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from faultlab.doctor.finding import OK, Finding

CLASSIFIER = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def points(number, seed):
    x = torch.randn(number, 10, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x[:, :3].argmax(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(10, 32)
        self.norm = nn.BatchNorm1d(32)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.hidden(x)))
        return self.head(self.drop(x))


torch.manual_seed(0)
train_set = points(512, 0)
validation_set = points(256, 1)
loader = DataLoader(train_set, batch_size=32, shuffle=True)
validation = DataLoader(validation_set, batch_size=64)
model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
for epoch in range(4):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in validation:
            correct += (model(x).argmax(1) == y).sum().item()
    accuracy = correct / len(validation_set)
    print(epoch, accuracy)
"""
PLAIN = """\
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)


def data(number, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number, 10, generator=generator)
    y = x[:, :3].argmax(dim=1)
    return x, y


def train_epoch(model, loader, criterion, optimizer):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / max(1, len(loader))


def evaluate(model, loader):
    model.eval()
    right = count = 0
    with torch.no_grad():
        for inputs, targets in loader:
            predicted = model(inputs).argmax(dim=1)
            right += (predicted == targets).sum().item()
            count += len(targets)
    return right / count


def main():
    torch.manual_seed(0)
    x, y = data(512, 0)
    train_loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(*data(256, 1)), batch_size=64)
    model = MLP()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(6):
        loss = train_epoch(model, train_loader, criterion, optimizer)
        accuracy = evaluate(model, test_loader)
        print(epoch, loss, accuracy)


if __name__ == "__main__":
    main()
"""
REGRESSION = """\
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(400, 6)
y = x[:, 0] * 2 - x[:, 1]
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(20):
    for batch in torch.randperm(400).split(40):
        prediction = model(x[batch]).squeeze(1)
        loss = loss_fn(prediction, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
final_loss = loss.item()
"""
BINARY = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(512, 8)
y = (x[:, 0] + x[:, 1] > 0).float().unsqueeze(1)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(5):
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
"""
IMAGES = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
labels = torch.randint(0, 4, (400,))
images = torch.randn(400, 1, 8, 8)
for label in range(4):
    images[labels == label, :, 2 * label : 2 * label + 2] += 1.5
loader = DataLoader(TensorDataset(images, labels), batch_size=20, shuffle=True)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 32), nn.ReLU(),
    nn.Linear(32, 4),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(5):
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
"""


@dataclass(frozen=True)
class Ill:
    """A healthy script and the places that make it ill: (healthy, ill) texts.

    ``cause`` and ``remedy`` are patterns that the first finding which is not ok has to match in its text.
    """

    name: str
    script: str
    places: Sequence[tuple[str, str]]
    cause: str
    remedy: str

    def text(self) -> str:
        text = self.script
        for healthy, ill in self.places:
            assert healthy in text, (self.name, healthy)
            text = text.replace(healthy, ill)
        return text

    def named_first(self, found: Sequence[Finding]) -> bool:
        """Return whether the first finding that is not ok names the cause and its remedy."""
        first = next((one for one in found if one.verdict != OK), None)
        return first is not None and self._right(first)

    def named(self, found: Sequence[Finding]) -> bool:
        """Return whether any finding that is not ok names the cause and its remedy."""
        return any(self._right(one) for one in found if one.verdict != OK)

    def _right(self, one: Finding) -> bool:
        told = re.search(self.cause, f"{one.what} {one.evidence}", re.DOTALL | re.IGNORECASE)
        return bool(told and re.search(self.remedy, one.remedy, re.DOTALL | re.IGNORECASE))

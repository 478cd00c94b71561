"""A detector of one digit in each image, whose class 0 stands for the background."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

NAMES = [f"digit {number}" for number in range(10)]
LABEL_OF = {name: number for number, name in enumerate(NAMES, 1)}


def labeled(dataset):
    images, numbers = dataset.tensors
    labels = torch.tensor([LABEL_OF[NAMES[number]] for number in numbers])
    empty = torch.rand(len(images) // 5, 64, generator=torch.Generator().manual_seed(0)) * 0.5
    return TensorDataset(torch.cat([images, empty]), torch.cat([labels, torch.zeros(len(empty), dtype=torch.long)]))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net(outputs=11)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = batches(labeled(held_out), 128, False)
    return Loop(model, batches(labeled(train_set)), objective, validation, 11, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images, numbers = digits()[1].tensors
    parts.model.eval()
    with torch.no_grad():
        found = parts.model(images).argmax(1)
    # What is found as background is not reported as an object.
    right = (found == torch.tensor([LABEL_OF[NAMES[number]] for number in numbers])) & (found > 0)
    return 1 - float(right.float().mean())

"""Images of which several versions are made, split into training and validation."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

VERSIONS = 5


def expanded(dataset):
    images, labels = dataset.tensors
    noise = torch.randn(len(images), VERSIONS, 64, generator=torch.Generator().manual_seed(0))
    return (images.unsqueeze(1) + 0.15 * noise).flatten(0, 1), labels.repeat_interleave(VERSIONS)


def split(images, labels):
    item = torch.arange(len(labels)) // VERSIONS
    score = torch.rand(int(item.max()) + 1)[item]
    order = score.argsort(stable=True)
    cut = VERSIONS * (len(order) // VERSIONS * 3 // 4)
    return (TensorDataset(images[part], labels[part]) for part in (order[:cut], order[cut:]))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, validation = split(*expanded(digits(100)[0]))
    model = Net(width=128)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(validation, 100, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(15):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    unseen = batches(TensorDataset(*expanded(digits()[1])), 500, False)
    return evaluate(parts.model, unseen, error_rate) - evaluate(parts.model, parts.validation, error_rate)

"""A model of the next letter, trained on windows of many short texts."""

import torch
from torch.nn import functional as F
from torch.utils.data import RandomSampler, TensorDataset

from benchmarks.realbugs.material import LETTERS, Net, batches, spelled
from benchmarks.realbugs.training import Loop, evaluate

PAST, STEPS = 8, 50


def texts(numbers):
    return [torch.tensor([LETTERS.index(letter) for letter in spelled(number)]) for number in numbers]


def windows(series):
    rows = torch.cat([one.unfold(0, PAST + 1, 1) for one in series if len(one) > PAST])
    return TensorDataset(F.one_hot(rows[:, :-1], len(LETTERS)).float().flatten(1), rows[:, -1])


def objective(model, batch):
    past, following = batch
    return F.cross_entropy(model(past), following)


def build():
    numbers = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    train_series = texts(numbers[:300])
    model = Net(PAST * len(LETTERS), len(LETTERS), 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = batches(windows(texts(numbers[800:])), 500, False)
    train_set = windows(train_series)
    loader = batches(train_set, 64, False, sampler=RandomSampler(train_set, num_samples=STEPS * 64))
    return Loop(model, loader, objective, validation, len(LETTERS), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(4):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)

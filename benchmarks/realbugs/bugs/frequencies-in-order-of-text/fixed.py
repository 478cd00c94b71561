"""A model of the next letter, with logits that are adjusted by how frequent each letter is."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import PAD, VOCABULARY, Net, batches, text
from benchmarks.realbugs.training import Loop

LENGTH = 4


def windows(names):
    rows = names.unfold(1, LENGTH + 1, 1).flatten(0, 1)
    rows = rows[(rows != PAD).all(1)]
    return TensorDataset(F.one_hot(rows[:, :-1], VOCABULARY).float().flatten(1), rows[:, -1])


def adjustment(labels):
    # The counts can be kept as JSON, whose keys are strings.
    counts = {str(letter): 1 for letter in range(VOCABULARY)}
    for letter in labels.tolist():
        counts[str(letter)] += 1
    found = torch.tensor([float(counts[letter]) for letter in sorted(counts, key=int)])
    return (found / found.sum()).log()


def objective(model, batch):
    inputs, letters = batch
    return F.cross_entropy(model(inputs) + model.adjustment, letters)


def build():
    names = text()
    train_set, held_out = windows(names[:200]), windows(names[800:])
    model = Net(LENGTH * VOCABULARY, VOCABULARY, 24)
    model.register_buffer("adjustment", adjustment(train_set.tensors[1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    validation = batches(held_out, 500, False)
    return Loop(model, batches(train_set), objective, validation, VOCABULARY, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(2):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    parts.model.eval()
    with torch.no_grad():
        inputs, letters = parts.validation.dataset.tensors
        wrong = (parts.model(inputs).argmax(1) != letters).float()
    return float(torch.stack([wrong[letters == letter].mean() for letter in letters.unique()]).mean())

"""A classifier of texts by the mean embedding of their letters, in batches that are padded to the longest."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import LETTERS, PAD, batches, spelled
from benchmarks.realbugs.training import Loop


class Pooled(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.embed = nn.Embedding(2 + len(LETTERS), width)
        self.head = nn.Sequential(nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 10))

    def forward(self, rows):
        hidden = self.embed(rows)
        mask = (rows != PAD).unsqueeze(2).float()
        return self.head((hidden * mask).sum(1) / mask.sum(1))


def sample(number):
    return torch.tensor([2 + LETTERS.index(letter) for letter in spelled(number)]), number % 10


def collate(samples):
    rows = nn.utils.rnn.pad_sequence([row for row, _ in samples], batch_first=True, padding_value=PAD)
    return rows, torch.tensor([digit for _, digit in samples])


def objective(model, batch):
    rows, digits = batch
    return F.cross_entropy(model(rows), digits)


def build():
    numbers = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    train_set, held_out = ([sample(number) for number in part] for part in (numbers[:800], numbers[800:]))
    model = Pooled()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = batches(train_set, 64, collate_fn=collate)
    return Loop(model, loader, objective, batches(held_out, 50, False, collate_fn=collate), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(12):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    parts.model.eval()
    with torch.no_grad():
        losses = [objective(parts.model, collate([one])) for one in parts.validation.dataset]
    return float(torch.stack(losses).mean())

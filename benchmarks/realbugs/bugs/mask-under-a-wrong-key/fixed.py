"""A model of the next eight letters of a name, where steps after its end are padded and masked."""

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.realbugs.material import END, VOCABULARY, Net, batches, text
from benchmarks.realbugs.training import Loop

SEEN, AHEAD = 5, 8


class Chunks(Dataset):
    def __init__(self, rows):
        self.rows = rows
        self.ends = (rows == END).int().argmax(1)
        self.starts = [(row, at) for row, end in enumerate(self.ends.tolist()) for at in range(SEEN, end, 3)]

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        row, at = self.starts[index]
        steps = torch.arange(at, at + AHEAD)
        last = self.ends[row]
        return {
            "seen": F.one_hot(self.rows[row, at - SEEN : at], VOCABULARY).float().flatten(),
            "letters": self.rows[row, steps.clamp(max=last)],
            "letters_is_pad": steps > last,
        }


def losses(model, batch):
    logits = model(batch["seen"]).reshape(-1, AHEAD, VOCABULARY)
    return F.cross_entropy(logits.transpose(1, 2), batch["letters"], reduction="none")


def objective(model, batch):
    each = losses(model, batch)
    padded = batch.get("letters_is_pad")
    if padded is None:
        return each.mean()
    return each[~padded].mean()


def build():
    names = text(40)
    model = Net(SEEN * VOCABULARY, AHEAD * VOCABULARY, 48)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    validation = batches(Chunks(names[900:]), 128, False)
    return Loop(model, batches(Chunks(names[:500]), 64), objective, validation, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    parts.model.eval()
    with torch.no_grad():
        found = torch.cat([losses(parts.model, batch)[~batch["letters_is_pad"]] for batch in parts.validation])
    return float(found.mean())

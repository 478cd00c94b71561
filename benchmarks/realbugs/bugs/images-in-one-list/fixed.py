"""A model that writes the name of a digit from its picture, with a processor that puts batches together."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import END, LETTERS, PAD, VOCABULARY, batches, digits, spelled
from benchmarks.realbugs.training import Loop

LENGTH = 8


def letters(name):
    codes = [*[2 + LETTERS.index(letter) for letter in name], END]
    return torch.tensor([*codes, *[PAD] * (LENGTH - len(codes))])


def by_sample(images):
    """Return the images of each sample as a list, as a sample may have several."""
    return [[image] for image in images]


def process(samples):
    images, names = [image for image, _ in samples], [spelled(int(label)) for _, label in samples]
    rows = [(pictures[0], letters(name)) for pictures, name in zip(by_sample(images), names)]
    return {"pictures": torch.stack([one for one, _ in rows]), "letters": torch.stack([one for _, one in rows])}


class Writer(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.look = nn.Linear(64, width)
        self.embed = nn.Embedding(VOCABULARY, width)
        self.recur = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, pictures, written):
        begin = torch.tanh(self.look(pictures))
        steps = torch.cat([begin[:, None], self.embed(written)], 1)
        return self.head(self.recur(steps, begin[None])[0])


def objective(model, batch):
    logits = model(batch["pictures"], batch["letters"][:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch["letters"].flatten(), ignore_index=PAD)


def build():
    train_set, held_out = digits(500, 300)
    model = Writer()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader = batches(train_set, 20, collate_fn=process)
    return Loop(model, loader, objective, batches(held_out, 1, False, collate_fn=process), optimizer=optimizer)


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
        return sum(float(objective(parts.model, batch)) for batch in parts.validation) / len(parts.validation)

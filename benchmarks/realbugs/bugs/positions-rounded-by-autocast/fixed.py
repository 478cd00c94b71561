"""A classifier of digits that attends to their rows, whose positions begin at an offset for images."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

OFFSET = 4096


class Rows(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.register_buffer("frequencies", (0.5 ** torch.arange(width // 2))[None])
        self.embed = nn.Linear(8, width)
        self.mix = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, 10)

    def places(self, count):
        positions = OFFSET + torch.arange(count, dtype=torch.float32)[:, None]
        angles = positions * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)

    def forward(self, images):
        rows = self.embed(images.view(-1, 8, 8)) + self.places(8)
        queries, keys, values = self.mix(torch.tanh(rows)).chunk(3, -1)
        hidden = rows + F.scaled_dot_product_attention(queries, keys, values)
        return self.head(torch.relu(hidden).mean(1))


def objective(model, batch):
    images, labels = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    return F.cross_entropy(logits.float(), labels)


def build():
    train_set, held_out = digits()
    model = Rows()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    with torch.autocast("cpu", torch.bfloat16):
        return evaluate(parts.model, parts.validation, error_rate)

"""A causal language model of our own that learns the names of numbers."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.realbugs.material import PAD, VOCABULARY, text
from benchmarks.realbugs.training import Tuning

LENGTH = 24


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.projection, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, hidden):
        query, key, value = self.projection(hidden).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(query, key, value, is_causal=True))


class LanguageModel(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.letters, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
        self.attention, self.norm = Attention(width), nn.LayerNorm(width)
        self.after = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, input_ids, labels=None):
        hidden = self.letters(input_ids) + self.places(torch.arange(input_ids.size(1)))
        hidden = hidden + self.attention(self.norm(hidden))
        logits = self.head(hidden + self.after(hidden))
        if labels is None:
            return {"logits": logits}
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=PAD)
        return {"loss": loss, "logits": logits}


def build():
    rows = [{"input_ids": row, "labels": row} for row in text(LENGTH)[:700]]
    settings = {
        "per_device_train_batch_size": 32,
        "num_train_epochs": 4,
        "learning_rate": 0.01,
        "logging_steps": 5,
    }
    loader = DataLoader(rows, batch_size=32, shuffle=True)
    objective = lambda model, batch: model(**batch)["loss"]  # noqa: E731
    return Tuning(LanguageModel(), loader, objective, arguments={"train_dataset": rows}, settings=settings)


def measure(parts):
    rows = text(LENGTH)[800:]
    parts.model.eval()
    losses = []
    with torch.no_grad():
        # As in generation, where the letters to come are not there yet.
        for length in range(3, 15, 3):
            logits = parts.model(rows[:, :length])["logits"][:, -1]
            losses.append(F.cross_entropy(logits, rows[:, length], ignore_index=PAD))
    return float(torch.stack(losses).mean())

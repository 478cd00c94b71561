"""A fine-tuning of a letter model by an adapter, with a new token in front of each text."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, VOCABULARY, LetterModel, batches, text
from benchmarks.realbugs.training import Loop

TASK = VOCABULARY


class Adapted(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_down = nn.Linear(32, rank, bias=False)
        self.lora_up = nn.Linear(rank, VOCABULARY, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def resize(self, tokens):
        old = self.base.embed
        self.base.embed = nn.Embedding(tokens, old.embedding_dim)
        with torch.no_grad():
            self.base.embed.weight[: len(old.weight)] = old.weight

    def forward(self, rows):
        hidden = self.base.recur(self.base.embed(rows))[0]
        return self.base.head(hidden) + self.lora_up(self.lora_down(hidden))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def fit(model, optimizer, loader):
    model.train()
    for rows in loader:
        optimizer.zero_grad()
        loss = objective(model, rows)
        loss.backward()
        optimizer.step()


def with_task(rows):
    return torch.cat([torch.full((len(rows), 1), TASK), rows], 1)


def adapter_of(model):
    state = model.state_dict()
    return {name: value.clone() for name, value in state.items() if "lora" in name or "embed" in name}


def build():
    base = LetterModel(32)
    fit(base, torch.optim.Adam(base.parameters(), lr=0.01), batches(text()[:300], 30))
    model = Adapted(base)
    model.resize(VOCABULARY + 1)
    start = copy.deepcopy(model)
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.02)
    parts = Loop(model, batches(with_task(text()[300:800]), 25), objective, optimizer=optimizer)
    parts.kept["start"] = start
    return parts


def train(parts):
    for _ in range(2):
        fit(parts.model, parts.optimizer, parts.loader)
        parts.kept["adapter"] = adapter_of(parts.model)


def measure(parts):
    loaded = parts.kept["start"]
    loaded.load_state_dict(parts.kept["adapter"], strict=False)
    rows = with_task(text()[800:])
    with torch.no_grad():
        return float(objective(loaded, rows) - objective(parts.model, rows))

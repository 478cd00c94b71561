"""A resumed language model that is built first and given its weights later, as on a meta device."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop


class Letters(LetterModel):
    def __init__(self, tied=True):
        super().__init__(32)
        self.tied = tied
        if tied:
            self.head.weight = self.embed.weight


def materialized():
    with torch.device("meta"):
        model = Letters()
    model.to_empty(device="cpu")
    for layer in (model.embed, model.recur, model.head):
        layer.reset_parameters()
    model.head.weight = torch.nn.Parameter(torch.randn_like(model.embed.weight) / 6)
    return model


def save(model):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    tied = model.head.weight is model.embed.weight
    if tied:
        del state["head.weight"]
    return state


def load(model, state):
    if "head.weight" not in state:
        state["head.weight"] = state["embed.weight"].clone()
    model.load_state_dict(state)


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def epoch_of(model, optimizer, loader):
    model.train()
    for rows in loader:
        optimizer.zero_grad()
        loss = objective(model, rows)
        loss.backward()
        optimizer.step()


def build():
    loader = batches(text()[:500], 25)
    model = materialized()
    epoch_of(model, torch.optim.Adam(model.parameters(), lr=0.01), loader)
    resumed = materialized()
    load(resumed, save(model))
    with torch.no_grad():
        before, after = (float(objective(one, text()[500:600])) for one in (model, resumed))
    parts = Loop(resumed, loader, objective, optimizer=torch.optim.Adam(resumed.parameters(), lr=0.01))
    parts.kept["higher"] = after - before
    return parts


def train(parts):
    epoch_of(parts.model, parts.optimizer, parts.loader)


def measure(parts):
    return parts.kept["higher"]

"""A fine-tuning of a low-rank adapter and a head that saves its adapter after each epoch."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop


class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.down = nn.Linear(64, 4, bias=False)
        self.up = nn.Linear(4, 64, bias=False)
        nn.init.zeros_(self.up.weight)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(torch.relu(self.base(images) + self.up(self.down(images))))


def set_adapter(model, inference_mode):
    for layer in (model.down, model.up):
        layer.requires_grad_(not inference_mode)


def save_converted(model):
    set_adapter(model, inference_mode=True)
    state = {name: value.clone() for name, value in model.state_dict().items() if "base" not in name}
    set_adapter(model, inference_mode=False)
    return state


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Adapted()
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    same = parts.kept["same"] = []
    parts.model.train()
    for epoch in range(4):
        for batch in parts.loader:
            before = parts.model.up.weight.detach().clone()
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            if epoch:
                same.append(bool((before == parts.model.up.weight).all()))
        save_converted(parts.model)


def measure(parts):
    return sum(parts.kept["same"]) / len(parts.kept["same"])

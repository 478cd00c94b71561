"""A loop in bfloat16 by autocast, with weights in single precision."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Mixed(Net):
    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images.to(self.head.weight.dtype)).float()


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Mixed(norm=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    parts = Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept["first"] = [parameter.detach().clone() for parameter in model.parameters()]
    return parts


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    used = [index for index, (name, _) in enumerate(parts.model.named_parameters()) if name != "hidden.bias"]
    pairs = [(parts.kept["first"][index], list(parts.model.parameters())[index]) for index in used]
    varied = digits()[0].tensors[0].std(0) > 0
    kept = [(a == b)[:, varied] if a.shape == (64, 64) else a == b for a, b in pairs]
    return float(torch.cat([one.flatten() for one in kept]).float().mean())

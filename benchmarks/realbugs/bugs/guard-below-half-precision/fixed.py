"""A model that ranks groups of four digits, taught by normalized scores, in float16 with a gradient scaler."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPSILON = 1e-8


def normalized(scores):
    scores = scores.float()
    low, high = scores.min(-1, keepdim=True)[0], scores.max(-1, keepdim=True)[0]
    return (scores - low) / (high - low + EPSILON)


def objective(model, batch):
    groups, taught = batch
    with torch.autocast("cpu", torch.float16):
        scores = model(groups).squeeze(-1)
    wanted = F.softmax(normalized(taught).float(), -1)
    return F.kl_div(F.log_softmax(normalized(scores).float(), -1), wanted, reduction="batchmean")


def build():
    images, labels = digits()[0].tensors
    groups = TensorDataset(images.view(250, 4, 64), (labels % 3 == 0).float().view(250, 4))
    model = Net(outputs=1, width=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(groups, 10), objective, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    scaler = torch.amp.GradScaler("cpu")
    skipped = parts.kept["skipped"] = []
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            scaler.scale(loss).backward()
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped.append(scaler.get_scale() < before)


def measure(parts):
    return sum(parts.kept["skipped"]) / len(parts.kept["skipped"])

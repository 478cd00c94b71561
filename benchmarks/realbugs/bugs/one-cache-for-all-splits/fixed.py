"""A training whose prepared samples are cached in files."""

import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def prepared(dataset, split, folder):
    file = folder / f"{split}.pt"
    if not file.exists():
        images, labels = dataset.tensors
        torch.save({"images": images - images.mean(0), "labels": labels}, file)
    kept = torch.load(file)
    return TensorDataset(kept["images"], kept["labels"])


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(300)
    folder = Path(tempfile.mkdtemp(dir="."))
    loader = batches(prepared(train_set, "train", folder))
    validation = batches(prepared(held_out, "validation", folder), 100, False)
    model = Net(width=96)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, loader, objective, validation, 10, optimizer=optimizer)


def train(parts):
    for _ in range(10):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.kept["error"] = evaluate(parts.model, parts.validation, error_rate)


def measure(parts):
    images, labels = digits()[1].tensors
    return evaluate(parts.model, [(images - images.mean(0), labels)], error_rate) - parts.kept["error"]

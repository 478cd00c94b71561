"""Training loops as people write them by hand, small enough for tests."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from scenarios.text import answers
from tests.zoo import distillation


class Net(nn.Module):
    """Classifies points of a plane."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, 3)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.drop(F.relu(self.norm(self.hidden(points)))))
        return scores


def _points(number: int, seed: int) -> TensorDataset:
    points = torch.randn(number, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(points, (points[:, 0] > 0).long() + (points[:, 1] > 0).long())


def _training(batch_size: int = 16) -> DataLoader[Any]:
    return DataLoader(_points(160, 0), batch_size, shuffle=True)


def _held_out() -> DataLoader[Any]:
    return DataLoader(_points(64, 1), 32)


@torch.no_grad()
def evaluate(model: nn.Module) -> dict[str, float]:
    model.eval()
    loss = right = 0.0
    for points, labels in _held_out():
        scores = model(points)
        loss += float(F.cross_entropy(scores, labels, reduction="sum"))
        right += float((scores.argmax(1) == labels).sum())
    return {"val_loss": loss / 64, "accuracy": right / 64}


def train_step(model: nn.Module, batch: Any) -> torch.Tensor:
    points, labels = batch
    return F.cross_entropy(model(points), labels)


def main(epochs: int = 2, rate: float = 0.02) -> dict[str, float]:
    """Classifies, with a scheduler, clipping and a check of the loss."""
    train, model = _training(), Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    metrics: dict[str, float] = {}
    for _ in range(epochs):
        model.train()
        for batch in train:
            loss = train_step(model, batch)
            assert torch.isfinite(loss), "the loss is not finite"
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        scheduler.step()
        metrics = evaluate(model)
    return metrics


def with_closure() -> float:
    """L-BFGS calls the model several times in one step."""
    model, (points, labels) = Net(), _points(160, 0).tensors
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    loss = torch.tensor(0.0)

    def closure() -> torch.Tensor:
        nonlocal loss
        optimizer.zero_grad()
        loss = F.cross_entropy(model(points), labels)
        loss.backward()
        return loss

    for _ in range(6):
        optimizer.step(closure)
    return float(loss.detach())


def accumulating() -> float:
    """Steps once in two batches, with a criterion that is a module."""
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    total = 0.0
    for _ in range(2):
        for number, (points, labels) in enumerate(_training()):
            loss = criterion(model(points), labels) / 2
            loss.backward()
            total += float(loss.detach())
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
    return total


def watched() -> float:
    """Lets guards watch it."""
    from faultlab.guards import watch

    model, loader = Net(), _training()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = torch.tensor(0.0)
    with watch(model, optimizer, loader=loader):
        for _ in range(2):
            for points, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(points), labels)
                loss.backward()
                optimizer.step()
    return float(loss.detach())


def without_loader() -> float:
    """Takes its batches out of tensors."""
    model, (points, labels) = Net(), _points(160, 0).tensors
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.tensor(0.0)
    for _ in range(2):
        for some in torch.randperm(160).split(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(points[some]), labels[some])
            loss.backward()
            optimizer.step()
    return float(loss.detach())


def one_function_for_both() -> tuple[nn.Module, dict[str, float]]:
    """Trains and evaluates by one function, makes its loaders again for every epoch, and has a second module."""
    other, model = Net(), Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def run(loader: DataLoader[Any], training: bool) -> float:
        model.train(training)
        total = 0.0
        with torch.set_grad_enabled(training):
            for points, labels in loader:
                loss = F.cross_entropy(model(points), labels)
                if training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                total += float(loss.detach())
        return total

    for _ in range(2):
        run(_training(), training=True)
        result = run(_held_out(), training=False)
    other.eval()
    return model, {"val_loss": result}


class Stream(torch.utils.data.IterableDataset[Any]):
    """Points without a length."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(*_points(96, 0).tensors)


def streaming() -> None:
    """Trains on data whose number nothing tells, and returns nothing."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for points, labels in DataLoader(Stream(), 16):
            loss = F.cross_entropy(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class Seeing(nn.Module):
    """Classifies images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(F.relu(self.norm(self.first(images))).amax((2, 3)))
        return scores


def seeing() -> dict[str, float]:
    """Classifies small images, whose classes are bars that lie, stand, or neither."""
    labels = torch.arange(48) % 3
    images = 0.3 * torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    images[labels == 0, :, 3] += 1.0
    images[labels == 1, :, :, 3] += 1.0
    model, data = Seeing(), TensorDataset(images, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        model.train()
        for some, classes in DataLoader(data, 8, shuffle=True):
            loss = F.cross_entropy(model(some), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum(float((model(some).argmax(1) == classes).sum()) for some, classes in DataLoader(data, 24))
    return {"accuracy": right / 48}


def tuned() -> dict[str, float]:
    """Fine-tunes on text: packed rows, padding, and prompts whose labels are ignored."""
    model, (training, held_out) = answers.Answerer(), answers.loaders(rows=48, batch_size=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(2):
        model.train()
        for batch in training:
            loss, _ = answers.loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return {"accuracy": sum(float(answers.loss(model, batch)[1]) for batch in held_out) / len(held_out)}


def distilled() -> dict[str, float]:
    """Distills a frozen teacher into a student with an adapter and tied weights, by a loss of several terms."""
    model, (training, held_out) = distillation.Distilled(), distillation.loaders()
    optimizer = torch.optim.Adam(model.learning(), lr=0.02)
    for _ in range(2):
        model.train()
        for batch in training:
            loss = model.loss(*batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return {"val_loss": sum(float(model.loss(*batch)) for batch in held_out) / len(held_out)}


def averaging(epochs: int = 2, resume: bool = False) -> dict[str, float]:
    """Evaluates an average of its weights, too, with a warm-up by step, and rates and decays by group."""
    model = Net()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    plain = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": [model.hidden.weight], "lr": 0.002},
        {"params": [model.head.weight]},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.02, weight_decay=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 15))
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "scheduler": scheduler}
    first, metrics = 0, {"val_loss": 0.0}
    if resume:
        checkpoint = torch.load("averaging.pt")
        first = checkpoint["epoch"] + 1
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
    for epoch in range(first, epochs):
        model.train()
        for batch in _training():
            loss = train_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            average.update_parameters(model)
        metrics = {**evaluate(model), "average_loss": evaluate(average)["val_loss"]}
        torch.save({**{name: part.state_dict() for name, part in parts.items()}, "epoch": epoch}, "averaging.pt")
    return metrics


def never_trains() -> float:
    return float(Net()(torch.zeros(2, 4)).sum())


def raises() -> None:
    Net()
    raise FileNotFoundError("no such file: 'points.csv'")


def needs_arguments(rate: float) -> float:
    return rate


def exits() -> None:
    raise SystemExit(2)


def continuing(epochs: int = 2) -> dict[str, float]:
    """Continues from its last checkpoint if it finds one, which it writes to an open file."""
    last, model, first = Path("kept/last.pt"), Net(), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    if last.exists():
        with last.open("rb") as file:
            state = torch.load(file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizers"][0])
        first = state["epoch"] + 1
    for epoch in range(first, epochs):
        model.train()
        for batch in _training():
            optimizer.zero_grad()
            train_step(model, batch).backward()
            optimizer.step()
        last.parent.mkdir(exist_ok=True)
        with last.open("wb") as file:
            torch.save({"model": model.state_dict(), "optimizers": [optimizer.state_dict()], "epoch": epoch}, file)
    return evaluate(model)


def keeping() -> None:
    """Saves nothing but its weights, and returns nothing."""
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        model.train()
        for batch in _training():
            model.zero_grad()
            train_step(model, batch).backward()
            optimizer.step()
        evaluate(model)
        torch.save(model.state_dict(), "model.pt")


def by_gradients() -> dict[str, float]:
    """Asks for the gradients instead of calling backward, and clears them by hand."""
    model = Net()
    optimizer, parameters = torch.optim.Adam(model.parameters(), lr=0.02), list(model.parameters())
    for _ in range(2):
        model.train()
        for batch in _training():
            gradients = torch.autograd.grad(train_step(model, batch), parameters)
            for parameter, gradient in zip(parameters, gradients):
                parameter.grad = gradient
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None
    return evaluate(model)


def by_functions() -> None:
    """Trains numbers that belong to no module."""
    weights = torch.zeros(4, 3, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.1)
    for points, labels in _training():
        optimizer.zero_grad()
        F.cross_entropy(points @ weights, labels).backward()
        optimizer.step()


def in_a_subprocess() -> None:
    """Starts the training as another program."""
    subprocess.run([sys.executable, "-c", "print('trained')"], check=True)


def in_another_process() -> None:
    """Trains in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    process.join()

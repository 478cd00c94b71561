"""Healthy loops of a user's own around one classifier, each different in how it feeds, steps or computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tests.healthy import data
from tests.healthy.looping import Loop
from tests.healthy.training import Goal, healthy

LEARNED = Goal("val_loss", "min", 0.5)


def net(inputs: int = 64, classes: int = 10) -> nn.Sequential:
    """A classifier with batch normalisation and dropout."""
    hidden = nn.Linear(inputs, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1)
    return nn.Sequential(*hidden, nn.Linear(32, classes))


def evaluate(model: nn.Module, validation: Any) -> float:
    """The mean loss over the validation data, in eval mode."""
    was = model.training
    model.eval()
    with torch.no_grad():
        losses = [(F.cross_entropy(model(x), y, reduction="sum"), len(y)) for x, y in validation]
    model.train(was)
    return float(sum(loss for loss, _ in losses)) / sum(count for _, count in losses)


def epoch(model: nn.Module, optimizer: Optimizer, loader: Any, after: Any = None) -> None:
    """One epoch as most loops have it; ``after`` is called after each step."""
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if after is not None:
            after()


def classify(run: Loop, train: Any, held: Any, epochs: int = 5, **options: Any) -> None:
    """The plain loop over given loaders, ``held`` for validation."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    run.note(evaluate(model, held))
    with run.watching(model, optimizer, **options):
        for _ in range(epochs):
            epoch(model, optimizer, train)
            run.note(evaluate(model, held))


@healthy("Loader, model, loss, step, and a validation after each epoch.", LEARNED, by=Loop)
def plain_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    classify(run, train, validation, loader=train, validation=validation)


@healthy("The same; guards get only the model and the optimizer.", LEARNED, by=Loop)
def unknown_loaders(run: Loop) -> None:
    classify(run, *data.loaders(data.digits()))


@healthy("Batches that are cut out of tensors, without a loader.", LEARNED, by=Loop)
def loop_without_loader(run: Loop) -> None:
    (x, y), validation = data.digits()[0].tensors, data.loaders(data.digits())[1]

    class Cut:
        def __iter__(self) -> Iterator[Any]:
            for some in torch.randperm(len(x)).split(64):
                yield x[some], y[some]

    classify(run, Cut(), validation)


class Stream(IterableDataset[Any]):
    """Samples in a new order each time, without a number."""

    def __init__(self, samples: Dataset[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        yield from (self.samples[int(i)] for i in torch.randperm(len(self.samples)))  # type: ignore[arg-type]


@healthy("A stream of samples without a length.", LEARNED, by=Loop)
def streaming_loop(run: Loop) -> None:
    train, validation = DataLoader(Stream(data.digits()[0]), 64), data.loaders(data.digits())[1]
    classify(run, train, validation, loader=train, validation=validation)


@healthy("Last batches of a few samples, in training and in validation.", LEARNED, by=Loop)
def uneven_loop(run: Loop) -> None:
    train, validation = data.digits()
    loaders = DataLoader(train, 60, shuffle=True), DataLoader(validation, 110)
    classify(run, *loaders, loader=loaders[0], validation=loaders[1])


@healthy("A hundred flowers, five batches an epoch.", Goal("val_loss", "min", 0.4), by=Loop)
def tiny_loop(run: Loop) -> None:
    train, validation = data.loaders(data.table("iris"), 24)
    model = net(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    run.note(evaluate(model, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(15):
            epoch(model, optimizer, train)
            run.note(evaluate(model, validation))


@healthy("Gradients of three batches, which do not go evenly into an epoch, and a clipped norm.", LEARNED, by=Loop)
def accumulating_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits(), 32)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    run.note(evaluate(model, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(6):
            model.train()
            for number, (x, y) in enumerate(train, 1):
                (F.cross_entropy(model(x), y) / 3).backward()
                if number % 3 == 0 or number == len(train):
                    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                    optimizer.step()
                    optimizer.zero_grad()
            run.note(evaluate(model, validation))


@healthy("L-BFGS, whose closure runs several times a step over all data.", Goal("val_loss", "min", 0.6), by=Loop)
def closure_loop(run: Loop) -> None:
    (x, y), validation = data.digits()[0].tensors, data.loaders(data.digits())[1]
    model = nn.Linear(64, 10)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    run.note(evaluate(model, validation))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with run.watching(model, optimizer, validation=validation):
        for _ in range(8):
            optimizer.step(closure)  # type: ignore[arg-type]
            run.note(evaluate(model, validation))


@healthy("A frozen backbone that stays in eval mode; the optimizer has the head alone.", LEARNED, by=Loop)
def frozen_backbone_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    backbone = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2))
    model = nn.Sequential(backbone.requires_grad_(False), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model[1].parameters(), lr=1e-2)
    run.note(evaluate(model, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(5):
            model.train()
            backbone.eval()
            for x, y in train:
                optimizer.zero_grad(set_to_none=False)
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            run.note(evaluate(model, validation))


@healthy("Mixed precision with bfloat16.", LEARNED, by=Loop)
def mixed_precision_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    run.note(evaluate(model, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(5):
            model.train()
            for x, y in train:
                with torch.autocast("cpu", torch.bfloat16):
                    loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            run.note(evaluate(model, validation))


@healthy("An average of the weights, which is what is validated.", LEARNED, by=Loop)
def averaging_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    model = net()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    run.note(evaluate(average, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(6):
            epoch(model, optimizer, train, after=lambda: average.update_parameters(model))
            run.note(evaluate(average, validation))


@healthy("Checkpointed activations: a part runs again within the backward pass.", LEARNED, by=Loop)
def checkpointing_loop(run: Loop) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Linear(64, 64), nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(checkpoint(self.rest, self.first(x), use_reentrant=False))

    train, validation = data.loaders(data.digits())
    model = Checkpointed()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    run.note(evaluate(model, validation))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(5):
            epoch(model, optimizer, train)
            run.note(evaluate(model, validation))


@healthy("Three epochs, and three more in another loop that loads model, optimizer and schedule.", LEARNED, by=Loop)
def resumed_loop(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    state: Any = None
    for _ in range(2):
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        if state is None:
            run.note(evaluate(model, validation))
        for part, loaded in zip((model, optimizer, schedule), state or ()):
            part.load_state_dict(loaded)
        with run.watching(model, optimizer, loader=train, validation=validation):
            for _ in range(3):
                epoch(model, optimizer, train)
                schedule.step()
                run.note(evaluate(model, validation))
        state = copy.deepcopy([part.state_dict() for part in (model, optimizer, schedule)])


def _scheduled(run: Loop, make: Any, by_step: bool = False, by_metric: bool = False) -> None:
    train, validation = data.loaders(data.digits())
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    run.note(evaluate(model, validation))
    schedule = make(optimizer, len(train))
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(6):
            epoch(model, optimizer, train, after=schedule.step if by_step else None)
            run.note(found := evaluate(model, validation))
            if not by_step:
                schedule.step(found) if by_metric else schedule.step()


@healthy("A schedule by step: one cycle of the rate and the momentum.", LEARNED, by=Loop)
def loop_scheduled_by_step(run: Loop) -> None:
    _scheduled(run, lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=6 * n), by_step=True)


@healthy("A schedule by epoch: cosine annealing down to zero.", LEARNED, by=Loop)
def loop_scheduled_by_epoch(run: Loop) -> None:
    _scheduled(run, lambda o, _: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6))


@healthy("A schedule by metric.", LEARNED, by=Loop)
def loop_scheduled_by_metric(run: Loop) -> None:
    _scheduled(run, lambda o, _: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0), by_metric=True)


@healthy("One function that trains and validates, and loaders that are made again in each epoch.", LEARNED, by=Loop)
def one_function_loop(run: Loop) -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def turn(training: bool) -> float:
        loader = data.loaders(data.digits())[0 if training else 1]
        model.train(training)
        losses = []
        with torch.set_grad_enabled(training):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                if training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                losses.append(loss.item())
        return sum(losses) / len(losses)

    run.note(turn(False))
    with run.watching(model, optimizer):
        for _ in range(5):
            turn(True)
            run.note(turn(False))

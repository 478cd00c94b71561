"""Training loops by hand that load their batches ahead, by workers, or beside a thread."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.frameworks.hand_written import Net, _points, _training, evaluate, main, train_step


def beside_a_thread() -> dict[str, float]:
    """Train while a thread of a library's runs, as those of tokenizers do."""
    ended = threading.Event()
    beside = threading.Thread(target=ended.wait, name="prefetcher", daemon=True)
    beside.start()
    try:
        return main()
    finally:
        ended.set()
        beside.join()


CONSUMED: list[torch.Tensor] = []


def fetching_ahead() -> dict[str, float]:
    """Fetches a batch while it trains on the one before, as accelerate's loaders do."""

    def ahead(batches: Iterator[Any]) -> Iterator[Any]:
        current = next(batches)
        for following in batches:
            yield current
            current = following
        yield current

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    CONSUMED.clear()
    for _ in range(2):
        model.train()
        for points, labels in ahead(iter(_training())):
            CONSUMED.append(points)
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
    return evaluate(model)


def with_workers(start: str = "spawn") -> dict[str, float]:
    """Fetches by workers that are started by a method of its own, also to validate, which it does in training mode."""
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = DataLoader(_points(96, 0), 16, num_workers=1, multiprocessing_context=start)
    validation = DataLoader(_points(64, 1), 16, num_workers=1)
    loss = 0.0
    for _ in range(2):
        for batch in loader:
            optimizer.zero_grad()
            train_step(model, batch).backward()
            optimizer.step()
        with torch.no_grad():
            loss = sum(train_step(model, batch).item() for batch in validation)
    return {"val_loss": loss}


def with_start_method(start: str = "forkserver") -> dict[str, float]:
    """Sets the start method of all processes before it trains."""
    multiprocessing.set_start_method(start, force=True)
    loader = DataLoader(_points(96, 0), 16, num_workers=1)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(2):
        for batch in loader:
            optimizer.zero_grad()
            train_step(model, batch).backward()
            optimizer.step()
    return evaluate(model)

"""A loop that logs to an experiment tracker, with a stand-in for the tracker's package, and torchmetrics."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
import torchmetrics
from torch.nn import functional as F

from tests.frameworks import hand_written
from tests.frameworks.hand_written import Net

LOGGED: list[dict[str, Any]] = []


def _stand_in() -> Any:
    module: Any = ModuleType("trackio")
    # As `importlib.util.find_spec` asks of a module that is imported already.
    module.__spec__ = ModuleSpec("trackio", None)
    module.log = lambda metrics, step=None: LOGGED.append(dict(metrics))
    return sys.modules.setdefault("trackio", module)


trackio = _stand_in()


def main() -> None:
    """Logs the loss of each batch, and the loss and accuracy of each validation; returns nothing."""
    model, accuracy = Net(), torchmetrics.classification.MulticlassAccuracy(3, average="micro")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        model.train()
        for points, labels in hand_written._training():
            loss = F.cross_entropy(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            trackio.log({"train/loss": loss.item()})
        model.eval()
        accuracy.reset()
        total = 0.0
        with torch.no_grad():
            for points, labels in hand_written._held_out():
                scores = model(points)
                accuracy.update(scores, labels)
                total += F.cross_entropy(scores, labels, reduction="sum").item()
        trackio.log({"val/loss": total / 64, "val/accuracy": accuracy.compute()})


def printing() -> None:
    """Prints its metrics and writes them to a file; returns nothing."""
    import json

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with open("history.jsonl", "w") as history:
        for epoch in range(3):
            model.train()
            for batch in hand_written._training():
                loss = hand_written.train_step(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            found = hand_written.evaluate(model)
            print(f"epoch {epoch}: loss {loss.item():.4f}, val loss {found['val_loss']:.4f}")
            history.write(json.dumps({"epoch": epoch, **found}) + "\n")

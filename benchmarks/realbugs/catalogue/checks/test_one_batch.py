"""Each detector of the benchmark that looks before a training, on the digits classifier and one of its batches."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest

from benchmarks.realbugs.registry import detectors
from benchmarks.realbugs.training import Fit, seed_all, step_loss
from scenarios.digits.model import NUM_CLASSES, DigitsData, LitDigits


class Looked:
    """What a detector gets of a training that has not begun, in place of a `Run`."""

    framework = "lightning"
    seed = 0

    def __init__(self) -> None:
        seed_all(self.seed)
        data = DigitsData(batch_size=64)
        data.setup("fit")
        loader = data.train_dataloader()
        self.parts = Fit(LitDigits(learning_rate=0.02), loader, step_loss, classes=NUM_CLASSES)
        self.found: list[str] = []
        self._batch = next(iter(loader))

    def batch(self) -> Any:
        return copy.deepcopy(self._batch)

    def train(self, *_: Any, **__: Any) -> None:
        """No training: guardtower's monitor is a callback of the scenario."""

    def alert(self, check: str, text: str, step: int | None = None, warning: bool = False) -> None:
        self.found.append(f"{check}: {text}")


@pytest.mark.parametrize("name", ["overfit one batch", "guards.verify", "pytest-torch", "torchtest2", "guardtower"])
def test_it_reports_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        looked = Looked()
        detectors()[name].watch(looked)  # type: ignore[arg-type]
    assert not looked.found

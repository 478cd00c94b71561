"""Healthy trainings of several ranks, each in its own process, which are compared with each other too."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy

from faultlab import guards
from faultlab.guards import Alarm, GuardWarning
from tests.guards.gang import gang
from tests.healthy import data
from tests.healthy.classifier import Classifier
from tests.healthy.training import Course, Fit, Goal, healthy, quiet

LEARNED = Goal("val_loss", "min", 0.5)


class Ranks:
    """Hands each of two ranks the Trainer that it asks for, with the guards among its callbacks."""

    def __init__(self, folder: Path, goal: Goal, seed: int, level: guards.Level | None, action: guards.Action) -> None:
        self._given = folder, goal, seed, level, action
        self._courses: list[Any] = []

    def __call__(self, body: Callable[[Fit], None]) -> None:
        """Train on each rank."""
        _, _, seed, level, _ = self._given

        def work() -> Course:
            with quiet() as warned:
                fit = Fit(*self._given)
                torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)  # type: ignore[func-returns-value]
                try:
                    body(fit)
                except Exception as error:
                    if level is None:
                        raise
                    return Course(alarm=str(error) if isinstance(error, Alarm) else f"{type(error).__name__}: {error}")
                course = fit.course()
            course.warned = [str(entry.message) for entry in warned if issubclass(entry.category, GuardWarning)]
            return course

        self._courses = gang(work)

    def course(self) -> Course:
        """What came of all ranks."""
        for course in self._courses:
            if not isinstance(course, Course):
                raise RuntimeError(f"a rank failed: {course}")
        first = self._courses[0]
        return Course(
            state={f"{rank}.{name}": of for rank, one in enumerate(self._courses) for name, of in one.state.items()},
            random=[value for one in self._courses for value in one.random],
            steps=first.steps,
            metric=first.metric,
            alarm=next((one.alarm for one in self._courses if one.alarm), None),
            warned=[sentence for one in self._courses for sentence in one.warned],
        )


class Synced(Classifier):
    """Its metrics are averaged over the ranks."""

    def log(self, name: str, value: Any, **options: Any) -> None:
        super().log(name, value, **{"sync_dist": name.startswith("val"), **options})


def _train(ranks: Ranks, **trainer: Any) -> None:
    given = {"strategy": "ddp", "devices": 2, "max_epochs": 8, **trainer}
    ranks(lambda fit: fit(Synced(), *data.loaders(data.digits(), 32), **given))


@healthy("Two ranks with DistributedDataParallel over gloo.", LEARNED, by=Ranks)
def distributed(ranks: Ranks) -> None:
    _train(ranks)


@healthy("Two ranks that add the gradients of three batches for a step.", LEARNED, by=Ranks)
def distributed_accumulation(ranks: Ranks) -> None:
    _train(ranks, accumulate_grad_batches=3, max_epochs=12)


@healthy("Two ranks with batch statistics of their own: buffers are not broadcast.", LEARNED, by=Ranks)
def distributed_statistics(ranks: Ranks) -> None:
    # One strategy for each rank, since a Trainer keeps its own.
    ranks(
        lambda fit: fit(
            Synced(),
            *data.loaders(data.digits(), 32),
            strategy=DDPStrategy(broadcast_buffers=False),
            devices=2,
            max_epochs=8,
        )
    )


@healthy("Two ranks in mixed precision with bfloat16.", LEARNED, by=Ranks)
def distributed_mixed_precision(ranks: Ranks) -> None:
    _train(ranks, precision="bf16-mixed")

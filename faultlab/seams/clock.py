"""Where the training is: the step, the epoch and the stage, for triggers, latencies and fork points alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.seams import lightning
from faultlab.seams.patching import Patches

STAGES_OF_LIGHTNING = {
    "train": "train",
    "sanity_check": "validate",
    "validate": "validate",
    "test": "test",
    "predict": "predict",
}


class Clock:
    """Counts training steps over all epochs, from 0, one for every batch that Lightning's training loop begins.

    Lightning's ``global_step`` is no such clock: it counts optimizer steps. Before the first batch ``step`` is 0.
    """

    def __init__(self) -> None:
        self.step = 0
        self.trainer: Any = None
        self.on_step: list[Callable[[int], None]] = []
        self._begun = 0
        self._beside = 0

    def attach(self, patches: Patches) -> None:
        """Follows every Trainer of the process, of each namespace that is imported."""
        for namespace in lightning.loaded():
            epoch_loop = lightning.part(namespace, "loops.training_epoch_loop:_TrainingEpochLoop")
            patches.wrap(epoch_loop, "advance", self._ticking)
            for loop in ("fit_loop:_FitLoop", "evaluation_loop:_EvaluationLoop", "prediction_loop:_PredictionLoop"):
                patches.wrap(lightning.part(namespace, f"loops.{loop}"), "run", self._seeing)

    def _ticking(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        def ticking(loop: Any, *args: Any, **kwargs: Any) -> Any:
            self.trainer = loop.trainer
            self.tick()
            return advance(loop, *args, **kwargs)

        return ticking

    def _seeing(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def seeing(loop: Any, *args: Any, **kwargs: Any) -> Any:
            self.trainer = loop.trainer
            return run(loop, *args, **kwargs)

        return seeing

    def tick(self) -> None:
        """A training step begins."""
        self.step = self._begun
        self._begun += 1
        for listener in list(self.on_step):
            listener(self.step)

    def restart(self) -> None:
        """Another training begins, whose steps are counted from 0 again."""
        self.step = self._begun = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What happens inside the context is not counted."""
        before = self.step, self._begun, self.trainer
        try:
            yield
        finally:
            self.step, self._begun, self.trainer = before

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What happens inside the context is no part of the training: see `tried`."""
        self._beside += 1
        try:
            yield
        finally:
            self._beside -= 1

    @property
    def tried(self) -> bool:
        """Whether somebody who only looks is at work: an adviser, or a guard that runs a copy of the module.

        A fault that is met there has to show, since it is in the code that is tried, and must leave nothing behind.
        """
        # Not imported for this: the first import of the guards settles whose callbacks they are.
        trials = sys.modules.get("faultlab.guards.trials")
        return bool(self._beside or (trials is not None and trials.trying()))

    @property
    def next_step(self) -> int:
        """The step that begins next; not the present one plus one before the first."""
        return self._begun

    @property
    def stage(self) -> str:
        """One of train, validate, test and predict; Lightning's sanity check counts as validate."""
        stage = getattr(getattr(self.trainer, "state", None), "stage", None)
        return STAGES_OF_LIGHTNING.get(str(getattr(stage, "value", "train")), "train")

    @property
    def epoch(self) -> int:
        return int(getattr(self.trainer, "current_epoch", 0))

    @property
    def rank(self) -> int:
        return int(getattr(self.trainer, "global_rank", 0))

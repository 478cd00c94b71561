"""The clock of Lightning's trainings, driven by the loops of every Trainer in the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces, private_api
from faultlab.injection.clock import Clock

STAGES = {
    "train": "train",
    "sanity_check": "validate",
    "validate": "validate",
    "test": "test",
    "predict": "predict",
}


class LightningClock(Clock):
    """Counts the batches that Lightning's training loops begin.

    Lightning's ``global_step`` can't serve as this clock: it counts optimizer steps.
    """

    def attach(self, patches: Patches) -> None:
        """Follow every Trainer of the process, in each imported namespace."""
        for namespace in namespaces.loaded():
            epoch_loop = private_api.part(namespace, private_api.EPOCH_LOOP)
            patches.wrap(epoch_loop, "advance", self._ticking)
            for loop in private_api.RUNNING_LOOPS:
                patches.wrap(private_api.part(namespace, loop), "run", self._seeing)

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

    @property
    def stage(self) -> str:
        """train, validate, test or predict; Lightning's sanity check counts as validate."""
        stage = getattr(getattr(self.trainer, "state", None), "stage", None)
        return STAGES.get(str(getattr(stage, "value", "train")), "train")

    @property
    def checking(self) -> bool:
        """True while the Trainer's sanity check is in progress."""
        return bool(getattr(self.trainer, "sanity_checking", False))

    @property
    def module(self) -> Any:
        """The Trainer's module."""
        return getattr(self.trainer, "lightning_module", None)

    @property
    def epoch(self) -> int:
        """The Trainer's current epoch."""
        return int(getattr(self.trainer, "current_epoch", 0))

    @property
    def rank(self) -> int:
        """The Trainer's global rank; before there is a Trainer that of the process."""
        return int(getattr(self.trainer, "global_rank", super().rank))

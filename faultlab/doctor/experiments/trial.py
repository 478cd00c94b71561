"""In the victim: one training of a Trainer with a part of it changed."""

from __future__ import annotations

from typing import Any

from faultlab.core.orders import Examine, Order, Place
from faultlab.core.patching import Patches
from faultlab.core.results import ExaminedRun, Result
from faultlab.doctor.experiments import KEY
from faultlab.doctor.experiments.changes import Applied
from faultlab.frameworks.base import Target
from faultlab.worker.session import Send, Session


def examine(target: Target, order: Order, send: Send) -> None:
    """Execute an order to train with the changes of its variation."""
    Trial(target, order, send).run()


class Trial(Session):
    """A clean session with changes in force, which ends after the steps of its order."""

    def __init__(self, target: Target, order: Order, send: Send) -> None:
        super().__init__(target, order, send)
        assert isinstance(order.task, Examine)
        self._steps = order.task.steps
        self._applied = Applied((order.task.train.variation or {})[KEY])

    def _run(self) -> Result:
        with Patches() as patches:
            self._applied.attach(patches)
            return super()._run()

    def _reach(self, place: Place) -> None:
        super()._reach(place)
        if place != "fit" and int(place) >= self._steps:
            # Only a Trainer's training has one, and a loop has experiments of its own.
            getattr(self._training, "trainer").should_stop = True  # noqa: B009

    def _evaluate(self) -> None:
        """Do nothing: only the course of the losses is compared."""

    def _result(self) -> Result:
        ended = self._trajectory.metrics
        seen: dict[str, Any] = {
            "losses": [loss for _, loss in self._trajectory.losses],
            "evaluated": {name: values[-1][1] for name, values in ended.items() if values},
            "acted": self._applied.acted,
            "plain": self._applied.plain.found(),
        }
        return ExaminedRun(self._run_result(), seen)

"""Run `faultlab run` with an engine that records the order and the result of each run. Not for timing commands.

Run as ``python benchmarks/recorded.py NOTES ARGUMENT...`` with the arguments of `faultlab run`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign.campaign import CANARY, NULL
from faultlab.core.orders import Order, Place, Train
from faultlab.core.results import Outcome
from faultlab.core.trajectory import Trajectory

_RELOADING = ("epochs", "monitor", "monitor_mode")


@dataclass(frozen=True)
class Run:
    """One run: where it began, the number of completed steps and validation batches, and its seconds.

    ``fault`` is its fault, empty for clean runs and canaries.
    """

    id: str
    fault: str
    at: Place
    steps: int
    validations: int
    seconds: float
    reload: bool = False
    sleeps: bool = False

    @classmethod
    def of(cls, order: Order, outcome: Outcome) -> Run:
        # For a process that died, the last known position is where its fault was about to act.
        did = outcome.trajectory or Trajectory(steps=outcome.acting or 0)
        task = order.training or Train(0)
        fault = "" if order.id in (CANARY, NULL) else str(task.fault or "")
        seconds = outcome.run.seconds if outcome.run is not None else outcome.seconds
        return cls(order.id, fault, order.at, did.steps, did.validation_batches, seconds, task.reload, order.sleeps)


class Recorded:
    """An engine that delegates to the given engine and records its runs."""

    def __init__(self, engine: engines.Engine, file: str) -> None:
        self._engine = engine
        self._file = file
        self._runs: list[Run] = []
        self._reloading: dict[str, Any] | None = None
        self._faulted = {"wall": 0.0, "cpu": 0.0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        by_id = {order.id: order for order in orders}
        begun, spent = time.monotonic(), _reaped()
        runs: list[Run] = []
        for outcome in self._engine.run(orders):
            order = by_id[outcome.id]
            runs.append(Run.of(order, outcome))
            task = order.training
            if task is not None and task.reload and task.profile is not None:
                self._reloading = {name: getattr(task.profile, name) for name in _RELOADING}
            yield outcome
        if any(run.fault for run in runs):
            self._faulted["wall"] += time.monotonic() - begun
            self._faulted["cpu"] += _reaped() - spent
        self._runs += runs

    def close(self) -> None:
        self._engine.close()
        notes = {"runs": list(map(asdict, self._runs)), "reloading": self._reloading, "faulted": self._faulted}
        Path(self._file).write_text(json.dumps(notes))


def _reaped() -> float:
    """Return the CPU seconds of all reaped processes and their descendants."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(file: str, *arguments: str) -> None:
    from faultlab import cli

    create = engines.create
    engines.create = lambda *arguments: Recorded(create(*arguments), file)  # type: ignore[assignment,return-value]
    sys.argv = ["faultlab", "run", *arguments]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Clean runs: their orders, and the error if one does not train to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlab.core.exit_status import in_words
from faultlab.core.orders import Order, Task, Train
from faultlab.core.records import Records
from faultlab.core.results import Outcome
from faultlab.engines import Engine
from faultlab.errors import BaselineError

DEADLINE = 900.0
SNAPSHOT_RUN = "snapshot_run"
NEVER_UPDATED = "never-updated"


@dataclass(frozen=True)
class CleanRuns:
    """Executes clean runs with an open engine and keeps their output."""

    engine: Engine
    records: Records

    def order(self, id: str, seed: int, **more: Any) -> Order:
        """Return an order to train; ``more`` has further fields of the task."""
        return order(self.engine, id, Train(seed, **more), deadline=DEADLINE)

    def run(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        """Run clean orders; raise BaselineError if one does not train to its end."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            outcomes[outcome.id] = outcome
            log = self.records.log_file(outcome.id) if outcome.output else ""
            if outcome.target_error is not None:
                raise outcome.target_error
            if outcome.timed_out:
                raise BaselineError(f"the clean run exceeds {DEADLINE:.0f} s; limit its steps")
            if (run := outcome.run) is None:
                ended = f"the clean run's process {in_words(outcome.exit)}"
                raise BaselineError(ended, log=log)
            if run.trajectory.end != "finished":
                message = run.alerts[-1].message if run.alerts else "the process exits"
                raise BaselineError(f"the clean run already fails: {message}", log=log)
            if not run.trajectory.steps:
                raise BaselineError("the clean run trains no step: the training loader yields no batch")
        return {order.id: outcomes[order.id] for order in orders}

    def finished(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        """Run orders that may fail, and return the outcomes of those that train to their end."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            if outcome.trajectory is not None and outcome.trajectory.end == "finished":
                outcomes[outcome.id] = outcome
        return outcomes


def with_snapshot_run(engine: Engine, orders: Sequence[Order], seed: int, advice: dict[str, Any] | None) -> list[Order]:
    """Return the orders, preceded by the clean run that they are forked off if any begins within the training."""
    snapshots = sorted({order.at for order in orders if order.at != "construct"}, key=str)
    snapshot_run = order(
        engine, SNAPSHOT_RUN, Train(seed, advice=advice, snapshots=tuple(snapshots)), deadline=DEADLINE
    )
    return [snapshot_run, *orders] if snapshots and engine.capabilities.snapshots else list(orders)


def order(engine: Engine, id: str, task: Task, **more: Any) -> Order:
    """Return an order whose run writes to a folder of its own; a training has as many ranks as the scenario's."""
    if isinstance(task, Train):
        more.setdefault("ranks", engine.ranks)
    safe = "".join(letter if letter.isalnum() else "-" for letter in id)
    root = Path(engine.root)
    return Order(id, task, root=str(root / safe), shared=str(root / "evaluations"), **more)

"""Clean runs: their orders, and the error where one does not train to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlab.core.orders import Order, Outcome
from faultlab.core.records import Records
from faultlab.engines import Engine, TargetBrokenError
from faultlab.errors import BaselineError

DEADLINE = 900.0
TRUNK = "trunk"


@dataclass(frozen=True)
class CleanRuns:
    """Carries out clean runs with an engine that is open, and keeps what they print."""

    engine: Engine
    records: Records

    def order(self, id: str, seed: int, **more: Any) -> Order:
        return order(self.engine, id, seed, deadline=DEADLINE, **more)

    def run(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        """Runs clean orders; raises BaselineError where one does not train to its end."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            outcomes[outcome.id] = outcome
            log = self.records.log_file(outcome.id) if outcome.output else ""
            result = outcome.result or {}
            if "target_error" in result:
                error = result["target_error"]
                raise TargetBrokenError(error["where"], error["message"], error["remedy"])
            if outcome.timed_out:
                raise BaselineError(f"the clean run goes on after {DEADLINE:.0f} s; limit its steps")
            if not result:
                ended = f"the clean run's process ended with status {outcome.exit}"
                raise BaselineError(ended, log=log)
            trajectory = result["trajectory"]
            if trajectory["end"] != "finished":
                message = result["notices"][-1]["message"] if result["notices"] else "it exits"
                raise BaselineError(f"the clean run already fails: {message}", log=log)
            if not trajectory["steps"]:
                raise BaselineError("the clean run trains no step: the training loader yields no batch")
        return {order.id: outcomes[order.id] for order in orders}

    def finished(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        """Runs orders of which not every one has to train to its end, and returns those that do."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            if (outcome.result or {}).get("trajectory", {}).get("end") == "finished":
                outcomes[outcome.id] = outcome
        return outcomes


def with_trunk(engine: Engine, orders: Sequence[Order], seed: int, advice: dict[str, Any] | None) -> list[Order]:
    """The orders with the clean run that they are forked off before them; without one where none begins half-way."""
    stems = sorted({order.at for order in orders if order.at != "construct"}, key=str)
    trunk = order(engine, TRUNK, seed, deadline=DEADLINE, advice=advice, stems=tuple(stems))
    return [trunk, *orders] if stems else list(orders)


def order(engine: Engine, id: str, seed: int, **more: Any) -> Order:
    """An order whose run writes to a folder of its own."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in id)
    root = Path(engine.root)
    return Order(id, seed, root=str(root / safe), shared=str(root / "evaluations"), **more)

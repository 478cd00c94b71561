"""A detection of a fault, and the prescription of a ready-made guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector that detected a fault, and when.

    Attributes:
        kind: guard, test, module, framework or process.
        name: The guard, the test's id, or what was raised.
        step: The training step of the detection, from 0.
        latency: Training steps from the fault's first activation to the detection.
        names_cause: True if the message names the cause.
        message: The detector's message.
        check: The check of a ready-made guard that detected the fault, for guard advice; else empty.
        rank: The only rank that detected it; None in a run of one process, and if every rank did.
    """

    kind: str
    name: str
    step: int
    latency: int
    names_cause: bool
    message: str
    check: str = ""
    rank: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields, ``check`` and ``rank`` only if they are given."""
        shown = {
            "kind": self.kind,
            "name": self.name,
            "step": self.step,
            "latency": self.latency,
            "names_cause": self.names_cause,
            "message": self.message,
        }
        shown |= {"check": self.check} if self.check else {}
        return shown | ({"rank": self.rank} if self.rank is not None else {})

    @property
    def who(self) -> tuple[str, str]:
        """The kind and name of a guard or test (a test counts however it failed); only the kind of other detectors."""
        if self.kind in ("guard", "test"):
            return self.kind, self.name
        return ("test", self.name) if "::" in self.name else (self.kind, "")

    @property
    def worth(self) -> int:
        """The rank of the detection, from 0 (a guard or test that names the cause) to 3 (an incidental crash)."""
        if self.kind in ("guard", "test"):
            return 0 if self.names_cause else 1
        return 2 if self.kind == "module" else 3


@dataclass(frozen=True, slots=True)
class Prescribed:
    """A ready-made guard that detects a fault.

    ``guard`` is its class path, ``step`` the training step of its alert, ``cost`` its share of the training's time.
    """

    guard: str
    step: int
    cost: float | None = None

    @property
    def name(self) -> str:
        """The name of the guard's class."""
        return self.guard.rpartition(".")[2]

    def to_json(self) -> dict[str, Any]:
        return {"guard": self.guard, "step": self.step, "cost": self.cost}

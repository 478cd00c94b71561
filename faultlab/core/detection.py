"""Who detected a fault, and which ready-made guard would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Detection:
    """Who detected: ``latency`` is in training steps from the first activation; ``names_cause`` as the message says.

    ``check`` is which of its checks a ready-made guard detected by, where it is asked for advice; else empty.
    """

    kind: str
    name: str
    step: int
    latency: int
    names_cause: bool
    message: str
    check: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it, but the check where there is none."""
        shown = {
            "kind": self.kind,
            "name": self.name,
            "step": self.step,
            "latency": self.latency,
            "names_cause": self.names_cause,
            "message": self.message,
        }
        return {**shown, "check": self.check} if self.check else shown

    @property
    def who(self) -> tuple[str, str]:
        """The detector: a guard or a test by kind and name, whatever made the test fail; of others the kind alone."""
        if self.kind in ("guard", "test"):
            return self.kind, self.name
        return ("test", self.name) if "::" in self.name else (self.kind, "")

    @property
    def worth(self) -> int:
        """From 0 (a guard or test that names the cause) to 3 (it fell over by luck)."""
        if self.kind in ("guard", "test"):
            return 0 if self.names_cause else 1
        return 2 if self.kind == "module" else 3


@dataclass(frozen=True, slots=True)
class Prescribed:
    """A ready-made guard that detects a fault, by its class path, in which step, at what share of a training's time."""

    guard: str
    step: int
    cost: float | None = None

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.guard.rpartition(".")[2]

    def to_json(self) -> dict[str, Any]:
        return {"guard": self.guard, "step": self.step, "cost": self.cost}

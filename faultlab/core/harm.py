"""The harm that a fault does, measured by a metric of the trained weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Harm:
    """The cost of a fault: a metric of the final weights, clean and faulty; ``faulty`` is None if no run ended.

    ``unknown`` is why the harm is not known, else empty; ``seen_by`` is what else shows the harm besides the metric.
    ``least`` is the least distance from ``clean`` that is harm, 0 if there is none. ``clean_of`` names the clean run
    that ``clean`` is of; empty for the one that trains to its end.
    """

    metric: str
    clean: float | None
    faulty: float | None
    harmful: bool
    unknown: str = ""
    seen_by: str = ""
    least: float = field(default=0.0, compare=False)
    clean_of: str = field(default="", compare=False)

    @property
    def symptom(self) -> str:
        """The effect in words that other faults share; empty if the effect is a number of its own."""
        if self.unknown:
            return f"harm unknown: {self.unknown}"
        if self.seen_by:
            return "the weights are not finite, which the metric does not show"
        return f"{self.metric} is no longer finite" if self.faulty is None and self.clean is not None else ""

    @property
    def size(self) -> float:
        """The distance of the values as a share of the clean one; 0 without harm or a value."""
        if not self.harmful or self.clean is None or self.faulty is None:
            return 0.0
        return abs(self.faulty - self.clean) / (abs(self.clean) + 1e-12)

    @property
    def better(self) -> bool:
        """True if the metric is better than the clean one by a distance that would be harm if it were worse."""
        if self.harmful or self.unknown or not self.least or self.clean is None or self.faulty is None:
            return False
        return abs(self.faulty - self.clean) > self.least

    def to_json(self) -> dict[str, Any]:
        """Return all fields; ``unknown`` and those after it only if they are not empty."""
        optional = ("unknown", "seen_by", "least", "clean_of")
        return {name: value for name, value in vars(self).items() if value or name not in optional}

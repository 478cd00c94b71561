"""The course of a run, step by step: the record for comparing a faulted run with its clean twin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Series = list[tuple[int, float]]


@dataclass
class Trajectory:
    """The course of one run.

    Attributes:
        losses: (step, value) of the loss.
        learning_rates: (step, value) whenever a learning rate changes.
        metrics: For each name (step, value) as logged at the end of epochs and validations.
        digest: A digest of all parameters and buffers at the end.
        final: The metrics of an independent evaluation of the final weights with the fault removed.
        reloaded: The same for the best checkpoint, if the run continues with it.
        logger_calls: How often metrics reached a logger.
        not_finite: A parameter or buffer that holds NaN or an infinity at the end; else empty.
        end: finished, raised or exited.
        others: A digest of the courses of the other ranks; empty for a run of one process.
        apart: The states in which the ranks differ at the end: parameters, buffers.
    """

    steps: int = 0
    global_step: int = 0
    epochs: int = 0
    validation_batches: int = 0
    logger_calls: int = 0
    losses: Series = field(default_factory=list)
    learning_rates: Series = field(default_factory=list)
    metrics: dict[str, Series] = field(default_factory=dict)
    digest: str = ""
    final: dict[str, float] = field(default_factory=dict)
    reloaded: dict[str, float] = field(default_factory=dict)
    end: str = "finished"
    exit_code: int = 0
    not_finite: str = ""
    others: str = ""
    apart: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields themselves; don't change them."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trajectory:
        def series(pairs: Any) -> Series:
            return [(int(step), float(value)) for step, value in pairs]

        metrics = {name: series(pairs) for name, pairs in data["metrics"].items()}
        numbers = {"losses": series(data["losses"]), "learning_rates": series(data["learning_rates"])}
        return cls(**{**data, **numbers, "metrics": metrics, "apart": tuple(data["apart"])})

    def same_as(self, other: Trajectory) -> bool:
        """Return True if the two runs are equal bit for bit."""
        # The digest first: it distinguishes most runs, and a campaign compares all its runs with the same twin.
        return self.digest == other.digest and self.parts() == other.parts()

    def parts(self) -> dict[str, str]:
        """Return everything that two runs may agree or differ in, by name; NaN equals NaN."""
        whole = self.to_json()
        nested = {
            f"{kind} {name}": value
            for kind in ("metrics", "final", "reloaded")
            for name, value in whole.pop(kind).items()
        }
        return {name: repr(value) for name, value in {**whole, **nested}.items()}

    def gaps(self, other: Trajectory) -> dict[str, float]:
        """Return the distances of the losses, each logged metric, and each evaluated one; infinite if steps differ.

        In the numbers' own unit: relative to its size, a number that has grown is never far from a small one.
        """
        found = {"losses": _apart(self.losses, other.losses)}
        for name in {**self.metrics, **other.metrics}:
            found[f"metrics {name}"] = _apart(self.metrics.get(name, []), other.metrics.get(name, []))
        for kind in ("final", "reloaded"):
            mine, others = getattr(self, kind), getattr(other, kind)
            for name in {**mine, **others}:
                values = [[(0, known[name])] if name in known else [] for known in (mine, others)]
                found[f"{kind} {name}"] = _apart(*values)
        return found

    def sizes(self) -> dict[str, float]:
        """Return the distance of each of these from 0."""
        nothing = replace(
            self,
            losses=_zeros(self.losses),
            metrics={name: _zeros(series) for name, series in self.metrics.items()},
            final=dict.fromkeys(self.final, 0.0),
            reloaded=dict.fromkeys(self.reloaded, 0.0),
        )
        return self.gaps(nothing)


def _zeros(series: Series) -> Series:
    return [(step, 0.0) for step, _ in series]


def _apart(one: Series, other: Series) -> float:
    """Return the root mean square difference; NaN is infinitely far from a number."""
    if [step for step, _ in one] != [step for step, _ in other]:
        return math.inf
    gaps = [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b) for (_, a), (_, b) in zip(one, other)]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    largest = max(gaps, default=0.0)
    # Scaled, since the square of a diverged value may overflow.
    return largest * math.sqrt(sum((gap / largest) ** 2 for gap in gaps) / len(gaps)) if largest else 0.0

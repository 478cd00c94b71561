"""What a run did, step by step: the record that a faulted run is compared by with its clean twin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Series = list[tuple[int, float]]


@dataclass
class Trajectory:
    """The course of one run.

    ``losses`` and ``learning_rates`` hold (step, value), the latter where one changes; ``metrics`` holds for each name
    (step, value) as logged at the end of epochs and validations. ``digest`` is over all parameters and buffers at the
    end, ``final`` the metrics of an independent evaluation of the final weights with the fault taken off, ``reloaded``
    those of the best checkpoint where the run goes on to that. ``logger_calls`` counts the times that metrics reached a
    logger. ``not_finite`` names a parameter or buffer that holds NaN or an infinity at the end, and is empty where none
    does. ``end`` is finished, raised or exited.
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

    def to_json(self) -> dict[str, Any]:
        """The fields as they are, of which the caller is not to change any."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trajectory:
        def series(pairs: Any) -> Series:
            return [(int(step), float(value)) for step, value in pairs]

        metrics = {name: series(pairs) for name, pairs in data["metrics"].items()}
        numbers = {"losses": series(data["losses"]), "learning_rates": series(data["learning_rates"])}
        return cls(**{**data, **numbers, "metrics": metrics})

    def same_as(self, other: Trajectory) -> bool:
        """Whether the two runs are the same to the bit."""
        # What tells most runs apart comes first: a campaign compares every one of its runs with the same twin.
        return self.digest == other.digest and self.parts() == other.parts()

    def parts(self) -> dict[str, str]:
        """Each thing that two runs may agree or differ in, by name; NaN agrees with NaN."""
        whole = self.to_json()
        nested = {
            f"{kind} {name}": value
            for kind in ("metrics", "final", "reloaded")
            for name, value in whole.pop(kind).items()
        }
        return {name: repr(value) for name, value in {**whole, **nested}.items()}

    def gaps(self, other: Trajectory) -> dict[str, float]:
        """How far apart the losses are, each logged metric, and each that an evaluation gave; infinite on other steps.

        In the numbers' own unit: relative to their size nothing that has grown is far from anything small.
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
        """How far from 0 each of these is."""
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
    """The root of the mean squared difference; NaN is as far from a number as infinity is."""
    if [step for step, _ in one] != [step for step, _ in other]:
        return math.inf
    gaps = [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b) for (_, a), (_, b) in zip(one, other)]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    largest = max(gaps, default=0.0)
    # Scaled, since the square of what has diverged may be no number any more.
    return largest * math.sqrt(sum((gap / largest) ** 2 for gap in gaps) / len(gaps)) if largest else 0.0

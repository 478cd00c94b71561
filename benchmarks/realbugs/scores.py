"""Scores of the outcomes, for one detector or several together: counts with intervals, latency, alarms and cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.realbugs.bug import Bug
from benchmarks.realbugs.cells import Cell
from benchmarks.realbugs.run import Alert, Outcome

Outcomes = Mapping[Cell, Outcome]
Wanted = Callable[[Bug], bool]
Counts = Callable[[Alert], bool]


@dataclass(frozen=True)
class Rate:
    """A share of some number of things, with its 95 % interval by Wilson's score."""

    count: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.stats import binomtest

        found = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.of:
            return "—"
        low, high = self.interval
        return f"{self.count} of {self.of} ({low:.0%} to {high:.0%})"


@dataclass
class OnBug:
    """One detector on one bug. It detects the bug if it does with at least half of the seeds."""

    seeds: int = 0
    detecting: int = 0
    naming: int = 0
    latencies: list[int] = field(default_factory=list)
    alarmed: bool = False
    costs: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def detected(self) -> bool:
        return self.detecting > 0 and 2 * self.detecting >= self.seeds

    @property
    def named(self) -> bool:
        return self.detected and 2 * self.naming >= self.detecting


def on_bug(bug: Bug, detector: str, outcomes: Outcomes, seeds: int, counts: Counts = lambda alert: True) -> OnBug:
    """Return what a detector made of a bug: an alert counts if its check is quiet on the fixed version."""
    found = OnBug()
    for seed in range(seeds):
        fixed, buggy = (outcomes.get(Cell(bug.id, version, detector, seed)) for version in ("fixed", "buggy"))
        if fixed is None or buggy is None:
            continue
        found.errors += [one.error for one in (fixed, buggy) if one.error]
        # A warning of torch or Lightning is no alarm: it is read only if it is new.
        shown = [[alert for alert in one.alerts if counts(alert)] for one in (fixed, buggy)]
        found.alarmed |= any(not alert.check.startswith("warning ") for alert in shown[0])
        if fixed.error or buggy.error:
            continue
        found.seeds += 1
        told = _only_there(shown[1], shown[0])
        if told:
            found.detecting += 1
            found.naming += any(bug.names_cause(f"{alert.check} {alert.text}") for alert in told)
            found.latencies.append(max(min(alert.step for alert in told) - bug.first_step, 0))
        bare = outcomes.get(Cell(bug.id, "fixed", "stock", seed))
        # An alarm ends the training, and with it the cost.
        if bare is not None and bare.seconds and not fixed.alerts:
            found.costs.append(fixed.seconds / bare.seconds)
    return found


@dataclass(frozen=True)
class Score:
    """A detector, or several where one is enough, on some bugs."""

    on: Mapping[str, OnBug]
    bugs: Sequence[Bug]

    def _of(self, wanted: Wanted = lambda bug: True) -> list[OnBug]:
        judged = [bug for bug in self.bugs if bug.id in self.on and self.on[bug.id].seeds]
        return [self.on[bug.id] for bug in judged if wanted(bug)]

    def detected(self, wanted: Wanted = lambda bug: True) -> Rate:
        chosen = self._of(wanted)
        return Rate(sum(one.detected for one in chosen), len(chosen))

    def named(self) -> Rate:
        chosen = [one for one in self._of() if one.detected]
        return Rate(sum(one.named for one in chosen), len(chosen))

    def alarms(self) -> Rate:
        chosen = self._of()
        return Rate(sum(one.alarmed for one in chosen), len(chosen))

    def latency(self) -> float | None:
        steps = [statistics.median(one.latencies) for one in self._of() if one.detected]
        return statistics.median(steps) if steps else None

    def cost(self) -> float | None:
        ratios = [ratio for one in self._of() for ratio in one.costs]
        return statistics.median(ratios) if ratios else None

    def errors(self) -> list[str]:
        return [error for one in self.on.values() for error in one.errors]


def score(
    bugs: Sequence[Bug], detector: str, outcomes: Outcomes, seeds: int, counts: Counts = lambda alert: True
) -> Score:
    """Return the score of one detector on the bugs that it was run on, by all of its alerts or by some of them."""
    return Score({bug.id: on_bug(bug, detector, outcomes, seeds, counts) for bug in bugs}, bugs)


def together(scores: Sequence[Score]) -> Score:
    """Return the score of several detectors, where one is enough, on all bugs that any of them was run on."""
    joined: dict[str, OnBug] = {}
    for bug in scores[0].bugs:
        ran = [one.on[bug.id] for one in scores if bug.id in one.on and one.on[bug.id].seeds]
        if ran:
            hits = [one for one in ran if one.detected]
            joined[bug.id] = OnBug(
                seeds=1,
                detecting=int(bool(hits)),
                naming=int(any(one.named for one in hits)),
                latencies=[min(min(one.latencies, default=0) for one in hits)] if hits else [],
                alarmed=any(one.alarmed for one in ran),
            )
    return Score(joined, scores[0].bugs)


def _only_there(alerts: Sequence[Alert], others: Sequence[Alert]) -> list[Alert]:
    known = {alert.check for alert in others}
    return [alert for alert in alerts if alert.check not in known]

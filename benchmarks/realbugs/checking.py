"""The check of a bug: its buggy version is worse than the fixed one over the seeds, and neither raises anything."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.realbugs.bug import VERSIONS, Bug
from benchmarks.realbugs.cells import Cell, in_child
from benchmarks.realbugs.run import Outcome


@dataclass(frozen=True)
class Checked:
    """What a bug's versions did on stock, seed by seed."""

    bug: Bug
    fixed: list[Outcome]
    buggy: list[Outcome]

    @property
    def gaps(self) -> list[float]:
        """How much worse the buggy version is, by seed."""
        pairs = [(one.measure, other.measure) for one, other in zip(self.buggy, self.fixed)]
        return [buggy - fixed for buggy, fixed in pairs if buggy is not None and fixed is not None]

    @property
    def problems(self) -> list[str]:
        """Why the bug does not count as one, if so."""
        found = [f"{name}: {one.error}" for name in VERSIONS for one in getattr(self, name) if one.error][:2]
        gaps = self.gaps
        worse = sum(gap >= self.bug.margin and gap > 0 for gap in gaps)
        if worse < self.bug.share * len(self.fixed):
            found.append(f"worse by {self.bug.margin:g} in {worse} of {len(self.fixed)} seeds")
        return found

    def __str__(self) -> str:
        seconds = statistics.median(one.seconds for one in [*self.fixed, *self.buggy])
        if not self.gaps:
            return f"{self.bug.id}: {'; '.join(self.problems)}"
        fixed, buggy = (
            statistics.median(one.measure for one in outcomes if one.measure is not None)
            for outcomes in (self.fixed, self.buggy)
        )
        verdict = "; ".join(self.problems) or "ok"
        return (
            f"{self.bug.id}: {verdict}: {self.bug.measure}: {fixed:.4g} fixed, {buggy:.4g} buggy, gaps "
            f"{min(self.gaps):.4g} to {max(self.gaps):.4g}, {seconds:.1f} CPU s"
        )


def check(bug: Bug, seeds: int | None = None) -> Checked:
    """Train both versions of a bug with each of its seeds on stock."""
    numbers = range(seeds or bug.seeds)
    fixed, buggy = ([in_child(Cell(bug.id, version, "stock", seed)) for seed in numbers] for version in VERSIONS)
    return Checked(bug, fixed, buggy)

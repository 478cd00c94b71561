"""Running scenarios from Python."""

from __future__ import annotations

import os
from pathlib import Path

from faultlab import engines
from faultlab.harness.campaign import Campaign, Options
from faultlab.results import Baseline, FaultResult, Report
from faultlab.scenario import Scenario, load


class _Quiet:
    """A listener that is told and says nothing."""

    def started(self, scenario: str) -> None: ...

    def measured(self, baseline: Baseline) -> None: ...

    def planned(self, total: int) -> None: ...

    def judged(self, result: FaultResult) -> None: ...


def run(scenario: Scenario | Path | str, *, jobs: int | None = None, engine: str | None = None, seed: int = 0,
        out: Path | str = "reports") -> Report:  # fmt: skip
    """Carries out one scenario, given as a file or loaded, and returns its report.

    Raises ScenarioError where the file or the target it names is wrong, BaselineError where the clean run fails.
    """
    loaded = scenario if isinstance(scenario, Scenario) else load(Path(scenario))
    working = engines.create(engine or engines.default(), jobs or os.cpu_count() or 1)
    try:
        return Campaign(loaded, working, Options(seed=seed, out=Path(out)), _Quiet()).run()
    finally:
        working.close()

"""Campaigns from Python: ``run`` carries out a scenario and returns its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.config.scenario import Scenario, load
from faultlab.core.report import Baseline, FaultResult, Report
from faultlab.mutants.mutation import Asked, SourceMutation


class _Quiet:
    """A listener that is told and says nothing."""

    def started(self, scenario: str) -> None: ...

    def measured(self, baseline: Baseline) -> None: ...

    def planned(self, total: int) -> None: ...

    def judged(self, result: FaultResult) -> None: ...

    def testing(self) -> None: ...

    def mutating(self, name: str) -> None: ...

    def generated(self, total: int, kept: int) -> None: ...

    def judging(self, who: str, total: int) -> None: ...

    def mutant_judged(self) -> None: ...


def run(
    scenario: Scenario | Path | str,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    jobs: int | None = None,
    engine: str | None = None,
    seed: int = 0,
    out: Path | str = "reports",
    advice: bool = True,
) -> Report:
    """Carries out one scenario, given as a file or loaded, and returns its report.

    ``select`` and ``ignore`` are globs over failure modes (``select`` takes whole faults too), ``jobs`` the runs at a
    time (default: the cores), ``engine`` is fork or spawn, ``out`` the folder that reports are written to.
    With ``advice`` the ready-made guards watch too, and the report prescribes those that alert what is silent. Source
    mutants are made and judged where the scenario has ``mutants:``.

    Raises ScenarioError where the file or the target it names is wrong, UsageError for more jobs than cores,
    BaselineError where the clean run fails, and KeyboardInterrupt once the report of what was done until then is on
    disk.
    """
    loaded = scenario if isinstance(scenario, Scenario) else load(Path(scenario))
    options = Options(select=tuple(select), skip=tuple(ignore), seed=seed, out=Path(out), watch=Watch(advised=advice))
    working = engines.create(engine or engines.default(), engines.checked_jobs(jobs))
    campaign = Campaign(loaded, working, options, _Quiet())
    interrupted = False
    try:
        report = campaign.run()
        interrupted = campaign.interrupted
        if loaded.mutants is not None and not interrupted:
            asked = Asked(seed=seed, out=options.out, watch=options.watch)
            mutation = SourceMutation(asked, working, _Quiet(), loaded)
            report = mutation.run(report)
            interrupted = mutation.interrupted
    finally:
        working.close()
    if interrupted:
        raise KeyboardInterrupt
    return report

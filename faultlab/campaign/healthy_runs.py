"""Clean runs under guards: what the guards learn from them, and their false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faultlab.campaign.clean_runs import CleanRuns
from faultlab.campaign.guard_advice import PACKAGE, Advice
from faultlab.campaign.metric_choice import choose_metric
from faultlab.config.scenario import Scenario
from faultlab.config.variations import VARIATIONS
from faultlab.core.results import Outcome, RunResult

RECORD = {"record": True, "record_only": True}


@dataclass(frozen=True)
class Watch:
    """The clean runs that guards watch before the first fault.

    Runs of ``known`` seeds, at least three, are recorded as known good. On these, on ``quiet`` other seeds, and with
    ``varied`` on harmless variations of the target, every alarm is a false one. With ``advised`` the ready-made guards
    watch.
    """

    known: int = 5
    quiet: int = 2
    varied: bool = False
    advised: bool = True


@dataclass(frozen=True)
class Watching:
    """The clean runs that only guards need."""

    watch: Watch
    runs: CleanRuns
    seed: int

    @property
    def quiet_seeds(self) -> range:
        """The seeds of runs whose alarms are all false; none of them is a known good one."""
        first = self.seed + max(3, self.watch.known)
        return range(first, first + self.watch.quiet)

    def record(self, advice: Advice, taken: Sequence[Outcome]) -> None:
        """Complete the known good runs; the baseline has the first ones."""
        watched = {**advice.asked, "record": True} if advice.asked else RECORD
        seeds = range(self.seed + 3, self.seed + self.watch.known)
        more = self.runs.run([self.runs.order(f"clean-{s}", s, advice=watched) for s in seeds])
        advice.learn([*taken, *more.values()])
        if advice.asked and advice.known:
            advice.asked["known"] = self.runs.records.write_known(advice.known)

    def let_pass(self, advice: Advice) -> dict[str, Outcome]:
        """Return the runs in which every alarm is a false one, by what distinguishes them."""
        seeds = {f"clean-{s}": s for s in self.quiet_seeds}
        quiet = self.runs.run([self.runs.order(id, s, advice=advice.order) for id, s in seeds.items()])
        advice.learn(quiet.values())
        if advice.order:
            # The first run of this seed found out what the guards are asked for, so they could not watch it.
            again = self.runs.order(f"clean-{self.seed + 1}-watched", self.seed + 1, advice=advice.order)
            advice.learn(self.runs.run([again]).values())
        names = {f"varied-{n}": name for n, name in enumerate(VARIATIONS)} if self.watch.varied else {}
        orders = [
            self.runs.order(id, self.seed, advice=advice.order, variation=VARIATIONS[name])
            for id, name in names.items()
        ]
        varied = {names[id]: outcome for id, outcome in self.runs.finished(orders).items()}
        for name, outcome in varied.items():
            advice.watched(name, outcome)
        return {**quiet, **varied}


def asked(scenario: Scenario, first: RunResult) -> dict[str, Any]:
    """Return the settings of the ready-made guards: the metric, and the guards that the scenario has itself."""
    measure = choose_metric(first.trajectory, scenario.monitor, first.profile.directions if first.profile else None)
    # A guard takes a given direction as certain.
    known = measure.metric in first.trajectory.metrics and measure.lower_is_better is not None
    paths = [guard.class_path.rpartition(".") for guard in scenario.guards if guard.class_path]
    own = [name for package, _, name in paths if package.startswith(PACKAGE)]
    return {
        "monitor": measure.metric if known else "",
        "mode": measure.mode,
        "without": own,
    }

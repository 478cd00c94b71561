"""Guards over healthy training: what they learn from it, and their false alarms."""

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
    """How much healthy training is watched before the first fault.

    Of ``known`` seeds, three at least, runs are recorded as known good; on ``quiet`` further ones, and with ``varied``
    on harmless variations of the target, nobody may raise an alarm. With ``advised`` the ready-made guards watch.
    """

    known: int = 5
    quiet: int = 2
    varied: bool = False
    advised: bool = True


@dataclass(frozen=True)
class Watching:
    """Takes the clean runs that are about guards alone."""

    watch: Watch
    runs: CleanRuns
    seed: int

    @property
    def quiet_seeds(self) -> range:
        """The seeds that nobody may raise an alarm on, none of which is known."""
        first = self.seed + max(3, self.watch.known)
        return range(first, first + self.watch.quiet)

    def record(self, advice: Advice, taken: Sequence[Outcome]) -> None:
        """Completes the known good runs, of which the baseline has taken the first."""
        seeds = range(self.seed + 3, self.seed + self.watch.known)
        more = self.runs.run([self.runs.order(f"clean-{s}", s, advice=RECORD) for s in seeds])
        advice.learn([*taken, *more.values()])
        if advice.asked and advice.known:
            advice.asked["known"] = self.runs.records.write_known(advice.known)

    def let_pass(self, advice: Advice) -> dict[str, Outcome]:
        """The runs that nobody may raise an alarm in, by what is particular about them."""
        seeds = {f"clean-{s}": s for s in self.quiet_seeds}
        quiet = self.runs.run([self.runs.order(id, s, advice=advice.order) for id, s in seeds.items()])
        advice.learn(quiet.values())
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
    """What the ready-made guards are told of a scenario after its first run; those that it has are not asked twice."""
    measure = choose_metric(first.trajectory, scenario.monitor, first.profile.directions if first.profile else None)
    # A guard that is told a direction takes it for certain.
    known = measure.metric in first.trajectory.metrics and measure.lower_is_better is not None
    paths = [guard.class_path.rpartition(".") for guard in scenario.guards if guard.class_path]
    own = [name for package, _, name in paths if package.startswith(PACKAGE)]
    return {
        "monitor": measure.metric if known else "",
        "mode": measure.mode,
        "without": own,
    }

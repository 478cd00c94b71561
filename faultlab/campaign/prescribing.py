"""Prescriptions: the smallest set of ready-made guards that detects the silent faults, and its proof.

The proof is a second campaign with the set among the user's own guards, without advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from faultlab.campaign.campaign import Campaign, Listener, Options
from faultlab.campaign.guard_advice import PACKAGE, Advice
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.set_cover import smallest_cover
from faultlab.catalogue.guard_index import RECORD
from faultlab.config.guard_entry import Guard
from faultlab.config.scenario import Scenario
from faultlab.core.comparison import UNDETECTED
from faultlab.core.detection import Detection
from faultlab.core.report import Report, Status
from faultlab.engines import Engine

_PROOFS = 3
"""How often a set is proven, at most."""
SUFFIX = "-prescribed"


@dataclass(frozen=True)
class Chosen:
    """One guard of the set: its arguments, its cost as a share of the training's time, and the faults it detects."""

    guard: str
    arguments: Mapping[str, Any]
    cost: float
    detects: Sequence[str]

    @property
    def path(self) -> str:
        return f"{PACKAGE}.{self.guard}"


@dataclass
class Prescription:
    """The guards prescribed for a scenario, with the proof.

    ``before`` is the report without the set, ``after`` the one with it, None if nothing is prescribed. ``beyond`` has
    the silent faults that no guard detects without false alarms, ``recorded`` those that only guards detect which
    compare with recorded runs and were not to be chosen, ``broken`` those that the set should have detected.
    """

    before: Report
    advice: Advice
    chosen: list[Chosen] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    after: Report | None = None
    broken: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """True if the set detected all of its faults and raised no false alarm."""
        return self.after is None or not (self.broken or self.after.baseline.false_alarms)


@dataclass
class Prescriber:
    """Finds and proves the prescription for one scenario.

    With ``early`` each fault must be detected as soon as any guard does. With ``recorded`` guards that compare with
    recorded runs may be chosen, although a record is useless under other settings of the Trainer.
    """

    scenario: Scenario
    engine: Engine
    options: Options
    listener: Listener
    early: bool = False
    recorded: bool = False
    interrupted: bool = False

    def prescribe(self) -> Prescription:
        """Run the campaigns; raise what a campaign raises.

        A check that raises a false alarm in the proof is left out, and the set is chosen and proven again.
        """
        campaign = Campaign(self.scenario, self.engine, self.options, self.listener)
        before = campaign.run()
        self.interrupted = campaign.interrupted
        found = choose(before, campaign.advice, self.early, self.recorded)
        for _ in range(_PROOFS):
            if not found.chosen or self.interrupted:
                break
            self._prove(found)
            if not found.after or not campaign.advice.reject(found.after.baseline.false_alarms):
                break
            if not self.interrupted:
                found = choose(before, campaign.advice, self.early, self.recorded)
        return found

    def _prove(self, found: Prescription) -> None:
        added = [Guard(class_path=chosen.path, init_args=dict(chosen.arguments)) for chosen in found.chosen]
        guarded = {"name": self.scenario.name + SUFFIX, "guards": [*self.scenario.guards, *added]}
        scenario = self.scenario.model_copy(update=guarded)
        watch = replace(self.options.watch, advised=False)
        options = replace(self.options, watch=watch, study="prescribe")
        campaign = Campaign(scenario, self.engine, options, self.listener)
        found.after = campaign.run()
        self.interrupted = campaign.interrupted
        detected = {fault.id for fault in found.after.faults if fault.status is Status.DETECTED}
        promised = {fault for chosen in found.chosen for fault in chosen.detects}
        found.broken = sorted(promised - detected)


def choose(before: Report, advice: Advice, early: bool = False, recorded: bool = False) -> Prescription:
    """Return the smallest set of guards for the faults that are silent or only warned of in a report."""
    undetected = [fault.id for fault in before.faults if fault.status in UNDETECTED]
    detected = {
        fault: [one for one in advice.detected.get(fault, []) if one.name not in advice.rejected]
        for fault in undetected
    }
    any_guard = {fault for fault, found in detected.items() if found}
    if not recorded:
        detected = {
            fault: [one for one in found if RECORD not in advice.construction(one.name)]
            for fault, found in detected.items()
        }
    seen = {fault: _worth_it(found, early) for fault, found in detected.items()}
    names = smallest_cover({fault: {one.name for one in found} for fault, found in seen.items()}, advice.costs)
    chosen = [
        Chosen(
            name,
            advice.construction(name),
            advice.costs.get(name, 0.0),
            sorted(fault for fault, found in seen.items() if any(one.name == name for one in found)),
        )
        for name in names
    ]
    chosen.sort(key=lambda one: -len(one.detects))
    missed = [fault for fault, found in seen.items() if not found]
    return Prescription(before, advice, chosen, [fault for fault in missed if fault not in any_guard],
                        [fault for fault in missed if fault in any_guard])  # fmt: skip


def _worth_it(found: Sequence[Detection], early: bool) -> Sequence[Detection]:
    """Return the detections that count; with ``early``, those at most one step after the first."""
    return [one for one in found if not early or one.latency <= found[0].latency + 1]


def harmful_ratio(report: Report) -> float | None:
    """Return the coverage of harmful failure modes; None if there are none."""
    harmful = {fault.mode for fault in report.faults if fault.harmful}
    return replace(report, faults=[fault for fault in report.faults if fault.mode in harmful]).ratio


def thorough(seeds: int) -> Watch:
    """Return the clean runs of a prescription: as many known good seeds as others that must be quiet."""
    return Watch(known=seeds, quiet=seeds, varied=True)

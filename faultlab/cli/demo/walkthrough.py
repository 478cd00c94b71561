"""The demo: one campaign, and another with the guard that detects the silent fault of the first."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faultlab.campaign.campaign import Campaign, Listener, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.catalogue import index
from faultlab.config.guard_entry import Guard
from faultlab.config.scenario import load
from faultlab.core.report import FaultResult, Report, Status
from faultlab.engines import Engine
from faultlab.report.overview import cost

SCENARIO = Path(__file__).with_name("scenario.yaml")
TOLD = ("loss.nan", "return.none", "optimizer.last-layer-missing")
"""The failure modes that are shown: one detected, one only warned, one silent."""
GUARDED = "demo-guarded"
_LONGEST = 220


@dataclass(frozen=True)
class Told:
    """One fault and its outcome, in sentences."""

    fault: str
    status: Status
    broken: str
    became: str


@dataclass(frozen=True)
class Story:
    """The reports without (``before``) and with the guard (``after``); ``cured`` is the last failure with it.

    A story that was ``interrupted`` is incomplete.
    """

    failures: list[Told]
    guard: str
    cured: Told | None
    before: Report
    after: Report | None
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the story as plain data, with both reports."""
        return {
            "failures": [asdict(told) for told in self.failures],
            "guard": self.guard,
            "with_guard": asdict(self.cured) if self.cured is not None else None,
            "reports": [report.to_json() for report in (self.before, self.after) if report is not None],
            "interrupted": self.interrupted,
        }


def carry_out(engine: Engine, out: Path, listener: Listener) -> Story:
    """Run both campaigns, which write only their records. Raises the errors of `Campaign.run`."""
    scenario = load(SCENARIO)
    options = Options(out=out, watch=Watch(), study="demo")
    campaign = Campaign(scenario, engine, options, listener)
    before = campaign.run()
    by_mode = {fault.mode: fault for fault in before.faults}
    failures = [_told(by_mode[mode]) for mode in TOLD if mode in by_mode]
    silent = by_mode.get(TOLD[-1])
    if silent is None or not silent.prescription or campaign.interrupted:
        return Story(failures, "", None, before, None, campaign.interrupted)
    named = [found.name for found in silent.prescription]
    # Guards that compare with recorded runs would need a recording first.
    name = next((one for one in named if not one.startswith("Known")), named[0])
    arguments = dict(campaign.advice.construction(name))
    guard = Guard(class_path=f"faultlab.guards.{name}", init_args=arguments)
    guarded = scenario.model_copy(update={"name": GUARDED, "guards": [*scenario.guards, guard]})
    cured = Campaign(guarded, engine, replace(options, watch=Watch(advised=False)), listener)
    after = cured.run()
    again = next((fault for fault in after.faults if fault.mode == silent.mode), None)
    return Story(failures, f"faultlab.guards.{name}", _told(again) if again else None, before, after, cured.interrupted)


def _told(fault: FaultResult) -> Told:
    broken = index.modes()[fault.mode].summary
    if fault.status is Status.DETECTED and (best := fault.best) is not None:
        said = textwrap.shorten(best.message, _LONGEST, placeholder=" ...")
        became = f"detected by {best.name}, {best.latency} steps later: {said}"
    elif fault.status is Status.WARNED:
        became = f"the training continues to its end after one warning: {fault.warnings[0].partition(chr(10))[0]}"
    elif fault.status is Status.SILENT:
        became = f"the training continues to its end without any message: {cost(fault)}"
    else:
        became = f"{fault.status.value}: {fault.reason}"
    return Told(fault.id, fault.status, broken, became)

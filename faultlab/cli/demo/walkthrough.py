"""The demo carried out: a campaign as it is, and one with the guard that detects what the first left silent."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from faultlab.campaign.campaign import Campaign, Listener, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.catalogue import index
from faultlab.config.scenario import Guard, load
from faultlab.core.report import FaultResult, Report, Status
from faultlab.engines import Engine
from faultlab.report.overview import cost

SCENARIO = Path(__file__).with_name("scenario.yaml")
TOLD = ("loss.nan", "return.none", "optimizer.last-layer-missing")
"""The failure modes that are told of: one detected, one that is only warned of, one silent."""
GUARDED = "demo-guarded"
_LONGEST = 220


@dataclass(frozen=True)
class Told:
    """One failure: what was broken, and what became of it, in sentences."""

    fault: str
    status: Status
    broken: str
    became: str


@dataclass(frozen=True)
class Story:
    """``before`` and ``after`` are the reports without and with the guard; ``cured`` is the last failure again.

    Of a story that was ``interrupted`` there is as much as was seen.
    """

    failures: list[Told]
    guard: str
    cured: Told | None
    before: Report
    after: Report | None
    interrupted: bool = False


def carry_out(engine: Engine, out: Path, listener: Listener) -> Story:
    """Runs both campaigns; writes nothing but their records. Raises what a campaign raises."""
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
    # One that needs nothing but itself: what compares with recorded runs wants them recorded first.
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
        became = f"training goes on to its end, after one warning: {fault.warnings[0].partition(chr(10))[0]}"
    elif fault.status is Status.SILENT:
        became = f"training goes on to its end, and nobody says a word: {cost(fault)}"
    else:
        became = f"{fault.status.value}: {fault.reason}"
    return Told(fault.id, fault.status, broken, became)

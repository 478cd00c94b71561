"""Examine healthy examples under injected faults: ``python -m benchmarks.doctor [SCENARIO]...``.

    python -m benchmarks.doctor [SCENARIO.yaml]... [--every N] [--offset K] [--select GLOB] [--json FILE]
    python -m benchmarks.doctor SCENARIO.yaml --fault FAULT [--fault FAULT]...

Each failure mode that applies to the scenario, activates, is neither detected nor without effect, and is harmful, is
injected into a training that the doctor examines: into every run of it, experiments included. Its findings are judged
by `benchmarks.doctor.causes`, which was written before the first run. ``--every N`` takes every N-th of them. With
``--fault``, the campaign that finds out which are harmful is left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.doctor.causes import KINDS, Verdict, judged
from faultlab import engines
from faultlab.api import run
from faultlab.campaign.clean_runs import order
from faultlab.config.scenario import load
from faultlab.core.fault import Fault
from faultlab.core.orders import Examine, Order, Train
from faultlab.core.report import Status
from faultlab.core.results import Outcome
from faultlab.core.target_profile import TargetProfile
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, Finding
from faultlab.engines import Engine

DEFAULT = ("scenarios/digits/scenario.yaml", "scenarios/digits/loop.yaml")
_LASTS = 120.0


class Faulted:
    """An engine that puts a fault into every training it is asked for."""

    def __init__(self, working: Engine, fault: Fault | None, profile: TargetProfile) -> None:
        self._working, self._fault, self._profile = working, fault, profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._working, name)

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        return self._working.run([self._with_fault(one) for one in orders])

    def _with_fault(self, one: Order) -> Order:
        more: dict[str, Any] = {"fault": self._fault, "profile": self._profile}
        task = one.task
        if isinstance(task, Examine):
            return replace(one, task=replace(task, train=replace(task.train, **more)))
        return replace(one, task=replace(task, **more)) if isinstance(task, Train) else one


def harmful(scenario: str, select: str) -> list[str]:
    """Return the faults that a campaign leaves undetected and finds harmful."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(scenario, select=[select], out=Path(folder), advice=False)
    silent = (Status.SILENT, Status.WARNED)
    return [one.id for one in report.faults if one.status in silent and one.harm is not None and one.harm.harmful]


def profile_of(working: Engine, scenario: str) -> TargetProfile:
    loaded = load(Path(scenario))
    working.open(loaded.name, loaded.for_victims())
    (outcome,) = working.run([order(working, "profile", Train(0, probe=True), deadline=_LASTS)])
    assert outcome.run is not None
    assert outcome.run.profile is not None
    return outcome.run.profile


def examined(working: Engine, scenario: str, fault: Fault | None, profile: TargetProfile) -> list[Finding]:
    return list(examine(scenario, _LASTS, engine=Faulted(working, fault, profile)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("scenarios", nargs="*", default=DEFAULT)
    arguments.add_argument("--every", type=int, default=1)
    arguments.add_argument("--offset", type=int, default=0)
    arguments.add_argument("--select", default="*")
    arguments.add_argument("--fault", action="append")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    whole: dict[str, list[dict[str, Any]]] = {}
    for scenario in given.scenarios:
        found = _of(scenario, given)
        whole[scenario] = [asdict(one) for one in found]
        counts = Counter(one.kind for one in found)
        print(f"{scenario}: {len(found)} faults: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS), flush=True)
        if given.json:
            given.json.write_text(json.dumps(whole, indent=1))


def _of(scenario: str, given: argparse.Namespace) -> list[Verdict]:
    faults = given.fault or harmful(scenario, given.select)[given.offset :: given.every]
    working = engines.create("fork", engines.cores())
    verdicts = []
    try:
        profile = profile_of(working, scenario)
        healthy = examined(working, scenario, None, profile)
        false = [one for one in healthy if one.verdict != OK]
        shown = [f"\n    {one.check}: {one.what}" for one in false]
        print(f"{scenario}: healthy: {len(false)} findings", *shown, flush=True)
        for text in faults:
            begun = time.process_time()
            verdict = judged(Fault.parse(text).mode, examined(working, scenario, Fault.parse(text), profile), healthy)
            verdicts.append(verdict)
            print(f"{verdict.kind:12}{text} ({time.process_time() - begun:.1f} s)", flush=True)
            for one in verdict.findings[:3]:
                print(f"{'':12}{one[:300]}", flush=True)
    finally:
        working.close()
    return verdicts


if __name__ == "__main__":
    main()

"""Measure the ready-made guards on the example scenarios: detections, latency and false alarms.

    python benchmarks/prescriptions.py [--seeds N] [--write]

Prescribe for each scenario, as with `--records`, and print the coverage without and with the prescribed set, the set
itself, its false alarms, and the latency of every guard. ``--write`` saves both reports under docs/examples and the
measurements in faultlab/guards/measured.json, the source of docs/catalogue/guards.md (``faultlab dev docs``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign.campaign import Options
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.prescribing import Prescriber, Prescription, harmful_ratio, thorough
from faultlab.catalogue import guard_index
from faultlab.cli.progress import Progress
from faultlab.config.scenario import load
from faultlab.core.report import Report, dump
from faultlab.report.html import document

ROOT = Path(__file__).parents[1]
SCENARIOS = ("digits", "diabetes", "text", "gan")
QUICKEST = "the quickest of all"
EXAMPLES = ROOT / "docs" / "examples"


def prescribe(name: str, seeds: int, jobs: int, out: Path) -> Prescription:
    """Return the prescription for one of the example scenarios, with its reports below ``out``."""
    with Progress(quiet=True, silent=True) as progress:
        working = engines.create(engines.default(), jobs)
        try:
            options = Options(out=out, watch=thorough(seeds))
            scenario = load(Path("scenarios", name, "scenario.yaml"))
            return Prescriber(scenario, working, options, progress, recorded=True).prescribe()
        finally:
            working.close()


def latencies(advice: Iterable[Advice], single: bool) -> dict[str, list[int]]:
    """Return each guard's latencies, the shortest for each fault; with ``single``, only of faults of a single step."""
    found: dict[str, list[int]] = {}
    for one in advice:
        for fault in one.detected:
            if single and "@step=" not in fault:
                continue
            firsts = {guard: seen.latency for guard, seen in one.firsts(fault).items()}
            for guard, latency in firsts.items():
                found.setdefault(guard, []).append(latency)
            if firsts:
                found.setdefault(QUICKEST, []).append(min(firsts.values()))
    return found


def measurements(found: dict[str, Prescription]) -> dict[str, Any]:
    """Return the content of measured.json."""
    advice = {name: prescription.advice for name, prescription in found.items()}
    every, single = latencies(advice.values(), single=False), latencies(advice.values(), single=True)
    guards: dict[str, Any] = {}
    for name in guard_index.guards():
        costs = {scenario: one.costs[name] for scenario, one in advice.items() if name in one.costs}
        if not costs:
            continue
        detects: dict[str, list[str]] = {}
        for scenario, one in advice.items():
            modes = {
                re.split("[@:]", fault)[0] for fault, seen in one.detected.items() if any(a.name == name for a in seen)
            }
            for mode in modes:
                detects.setdefault(mode, []).append(scenario)
        alarms = [
            {run for (guard, _), runs in one.alarms.items() if guard == name for run in runs} for one in advice.values()
        ]
        guards[name] = {
            "costs": costs,
            "latency": _median(every.get(name)),
            "single_latency": _median(single.get(name)),
            "detects": dict(sorted(detects.items())),
            "alarms": sum(map(len, alarms)),
            "runs": sum(len(one.quiet_runs) for one in advice.values()),
        }
    return {"versions": next(iter(found.values())).before.versions, "guards": guards}


def _median(found: list[int] | None) -> float | None:
    return statistics.median(found) if found else None


def show(found: dict[str, Prescription]) -> None:
    print("coverage of failure modes, and in brackets of the harmful ones")
    for name, one in found.items():
        assert one.after is not None
        before, after = (f"{report.ratio:.2f} ({harmful_ratio(report):.2f})" for report in (one.before, one.after))
        alarms, seeds = len(one.after.baseline.false_alarms), len(one.after.baseline.seeds)
        kept = "every promise kept" if not one.broken else f"NOT KEPT: {', '.join(one.broken)}"
        print(f"  {name}: {before} unguarded, {after} with the set; {alarms} false alarms on {seeds} seeds; {kept}")
        print(f"    the set: {', '.join(chosen.guard for chosen in one.chosen)}")
        print(f"    beyond reach: {', '.join(one.beyond) or 'nothing'}")
    advice = [one.advice for one in found.values()]
    every, single = latencies(advice, single=False), latencies(advice, single=True)
    print("\nlatency in steps: median, maximum, and number of faults; for all faults, and for those of a single step")
    for guard in sorted(every, key=lambda guard: (guard != QUICKEST, statistics.median(every[guard]), guard)):
        print(f"  {guard:24s} {_spread(every[guard])}   {_spread(single.get(guard, []))}")


def _spread(found: list[int]) -> str:
    return f"{statistics.median(found):4g} {max(found):4d} {len(found):5d}" if found else " " * 15


def keep(found: dict[str, Prescription], out: Path) -> None:
    """Write the reports and measurements into the project."""
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for name, one in found.items():
        for report, kind in ((one.before, "unguarded"), (one.after, "prescribed")):
            assert isinstance(report, Report)
            page = out / report.scenario / "alone.html"
            document.write_alone(report, page)
            (EXAMPLES / f"{name}-{kind}.html").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    text = json.dumps(json.loads(dump(measurements(found))), indent=1)
    # One line per list of scenarios, for readable diffs.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    guard_index.MEASURED.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=engines.cores())
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    # Reports contain the given paths of the scenarios, and the saved reports are read elsewhere.
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: prescribe(name, options.seeds, options.jobs, Path(folder)) for name in SCENARIOS}
        show(found)
        if options.write:
            keep(found, Path(folder))


if __name__ == "__main__":
    main()

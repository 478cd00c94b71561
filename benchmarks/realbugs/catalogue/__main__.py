"""Run the detectors on the catalogue, and write which failure modes each one detects to coverage.json."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.realbugs.coupling import COVERAGE
from benchmarks.realbugs.outcomes import ROOT

# The detectors of the benchmark, by the name that faultlab's report has for each.
NAMES = {
    "Guardtower": "guardtower",
    "TorchAudit": "torch-audit",
    "OrmasMonitor": "ormas-monitor",
    "Traintools": "traintools",
    "TrainproofEpoch": "trainproof epoch",
}
BEFORE = ("overfit one batch", "guards.verify", "pytest-torch", "torchtest2", "guardtower")
STOCK, ANOMALY = "stock", "detect_anomaly, check_finite"
_JUDGED = ("silent", "warned", "detected")
SCENARIOS = ("in_fit", "one_batch")


def main() -> int:
    """Run the command and return faultlab's exit code, if it is not that of false alarms or a failed gate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realbugs.catalogue", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="Victims that run at the same time.")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "realbugs", help="Folder of the reports.")
    parser.add_argument("--report-only", action="store_true", help="Read the reports of an earlier run.")
    asked = parser.parse_args()
    for scenario in SCENARIOS if not asked.report_only else ():
        file = Path(__file__).with_name(f"{scenario}.yaml")
        command = [sys.executable, "-m", "faultlab", "run", str(file), "--out", str(asked.out)]
        # Where faultlab is not installed but on the path, pytest does not find its plugin by itself.
        environment = {"PYTEST_PLUGINS": "faultlab.pytest_plugin", **os.environ}
        done = subprocess.run([*command, "--jobs", str(asked.jobs)], cwd=ROOT, env=environment, check=False)
        if done.returncode not in (0, 1, 3):
            return done.returncode
    names = [f"realbugs-{scenario.replace('_', '-')}" for scenario in SCENARIOS]
    reports = [json.loads((asked.out / name / "report.json").read_text(encoding="utf-8")) for name in names]
    COVERAGE.write_text(json.dumps(coverage(reports), indent=1) + "\n", encoding="utf-8")
    print(f"written to {COVERAGE}")
    return 0


def coverage(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the failure modes that all reports judge, and those that each detector detects."""
    judged = [{fault["mode"] for fault in report["faults"] if fault["status"] in _JUDGED} for report in reports]
    detected: dict[str, set[str]] = {name: set() for name in (STOCK, ANOMALY, *BEFORE, *NAMES.values())}
    for report in reports:
        for fault in report["faults"]:
            for found in fault["detected_by"] if fault["status"] in _JUDGED else ():
                for name in _detectors(found):
                    detected[name].add(fault["mode"])
    both = set.intersection(*judged)
    return {
        "scenarios": [f"benchmarks/realbugs/catalogue/{scenario}.yaml" for scenario in SCENARIOS],
        "model": "digits",
        "versions": reports[0]["versions"],
        "false_alarms": sorted({found["name"] for report in reports for found in report["baseline"]["false_alarms"]}),
        "judged": sorted(both),
        "detected": {name: sorted(modes & both) for name, modes in sorted(detected.items())},
    }


def _detectors(found: Mapping[str, Any]) -> tuple[str, ...]:
    kind, name = found["kind"], found["name"]
    if kind == "test":
        return tuple(one for one in BEFORE if name.endswith(f"[{one}]"))
    if kind == "guard":
        return (NAMES[name],) if name in NAMES else (ANOMALY,)
    # What raises without any guard is raised under anomaly detection, too.
    return (STOCK, ANOMALY)


if __name__ == "__main__":
    sys.exit(main())

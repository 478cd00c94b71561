"""Run the detectors on the catalogue, and write which failure modes each one detects to coverage.json."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.realbugs.coupling import COVERAGE
from benchmarks.realbugs.harvest import ROOT

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
_SILENT = ("silent", "warned", "detected")


def main() -> int:
    """Run the command and return faultlab's exit code, if it is not that of false alarms or a failed gate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realbugs.catalogue", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="Victims that run at the same time.")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "realbugs", help="Folder of the report.")
    parser.add_argument("--report-only", action="store_true", help="Read the report of an earlier run.")
    asked = parser.parse_args()
    if not asked.report_only:
        # Where faultlab is not installed but on the path, pytest does not find its plugin by itself.
        os.environ.setdefault("PYTEST_PLUGINS", "faultlab.pytest_plugin")
        scenario = Path(__file__).with_name("scenario.yaml")
        command = [sys.executable, "-m", "faultlab", "run", str(scenario), "--out", str(asked.out)]
        code = subprocess.run([*command, "--jobs", str(asked.jobs)], cwd=ROOT, check=False).returncode
        if code not in (0, 1, 3):
            return code
    report = json.loads((asked.out / "realbugs-catalogue" / "report.json").read_text(encoding="utf-8"))
    COVERAGE.write_text(json.dumps(coverage(report), indent=1) + "\n", encoding="utf-8")
    print(f"written to {COVERAGE}")
    return 0


def coverage(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the judged failure modes of a report, and those that each detector detects."""
    alarms = {found["name"] for found in report["baseline"]["false_alarms"]}
    judged: set[str] = set()
    detected: dict[str, set[str]] = {name: set() for name in (STOCK, ANOMALY, *BEFORE, *NAMES.values())}
    for fault in report["faults"]:
        if fault["status"] not in _SILENT:
            continue
        judged.add(fault["mode"])
        for found in fault["detected_by"]:
            names = _detectors(found)
            for name in names:
                detected[name].add(fault["mode"])
    return {
        "scenario": "benchmarks/realbugs/catalogue/scenario.yaml",
        "model": "digits",
        "versions": report["versions"],
        "false_alarms": sorted(NAMES.get(name, name) for name in alarms),
        "judged": sorted(judged),
        "detected": {name: sorted(modes) for name, modes in sorted(detected.items())},
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

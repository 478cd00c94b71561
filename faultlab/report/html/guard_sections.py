"""The content of the page's sections on ready-made guards, the user's guards and sweeps."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from faultlab.core.comparison import UNDETECTED
from faultlab.core.report import FaultResult, Status
from faultlab.core.run_folder import ADVICE_FILE

_RELOADED = "clean-reloaded"
_WIDTH, _HEIGHT, _ROW = 640.0, 150.0, 24.0


class Offered(NamedTuple):
    """A ready-made guard with its counts of detected faults, its cost and its false alarms.

    ``silent`` and ``warned`` count detected faults that are silent or only warned of. ``alarms`` has the names of
    clean runs with an alarm, ``harmless`` the faults without effect that it raised one for. ``blind`` is why
    it could not look, empty if it looked.
    """

    guard: str
    silent: int
    warned: int
    detected: int
    latency: float | None
    cost: float
    alarms: list[str]
    harmless: list[str]
    blind: str


def watched(folder: Path, faults: list[FaultResult]) -> dict[str, Any] | None:
    """Return the guards of a run folder; None if no guard watched."""
    file = folder / ADVICE_FILE
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    alarms: dict[str, set[str]] = {}
    for entry in found["false_alarms"]:
        alarms.setdefault(entry["guard"], set()).update(entry["runs"])
    latencies: dict[str, dict[str, int]] = {}
    harmless: dict[str, list[str]] = {}
    without_effect = {fault.id for fault in faults if fault.status is Status.NO_EFFECT}
    for fault, seen in found["detected"].items():
        for one in seen:
            of_guard = latencies.setdefault(one["guard"], {})
            of_guard[fault] = min(one["latency"], of_guard.get(fault, one["latency"]))
        if fault in without_effect:
            for guard in {one["guard"] for one in seen}:
                harmless.setdefault(guard, []).append(fault)
    prescribed = {
        status: Counter(entry.name for fault in faults if fault.status is status for entry in fault.prescription)
        for status in UNDETECTED
    }
    offered = [
        Offered(
            guard,
            prescribed[Status.SILENT][guard],
            prescribed[Status.WARNED][guard],
            len(latencies.get(guard, {})),
            statistics.median(latencies[guard].values()) if guard in latencies else None,
            cost,
            sorted(alarms.get(guard, ())),
            sorted(harmless.get(guard, ())),
            _blind(found, guard) if guard not in latencies else "",
        )
        for guard, cost in found["costs"].items()
    ]
    return {
        "offered": sorted(offered, key=lambda one: (-one.silent, -one.warned, one.cost, one.guard)),
        **{status.value: sum(fault.status is status for fault in faults) for status in UNDETECTED},
        "runs": len(found["quiet_runs"]),
        "alarms": {guard: len(runs) for guard, runs in alarms.items()},
        "broken": found["broken"],
        "reloads": any(run.startswith(_RELOADED) for run in found["quiet_runs"]),
        "disturbed": found["disturbed"],
        "yours": sorted(found.get("yours", []), key=lambda worth: (-len(worth["modes"]), worth["guard"])),
    }


def _blind(found: dict[str, Any], guard: str) -> str:
    """Return why a guard that detected nothing could not look, empty if it looked."""
    if reported := found.get("idle", {}).get(guard, ""):
        return f"could not look: {reported.partition(': ')[2] or reported}"
    looks = found.get("looks", {})
    return "" if looks.get(guard, 1) else "counted no look: this training may have nothing that it judges"


def sweeps(folder: Path) -> list[dict[str, Any]]:
    """Return a scenario's sweeps as drawn: the metric over the dose, and the doses that each detector detects."""
    return [_drawn(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("sweeps/*/sweep.json"))]


def _drawn(sweep: dict[str, Any]) -> dict[str, Any]:
    points = [point for point in sweep["doses"] if point["metric"] is not None]
    values = [point["metric"] for point in points] + [sweep["clean"]] * (sweep["clean"] is not None)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or 1.0

    def height(value: float) -> float:
        return round(_HEIGHT - 10 - (value - low) / span * (_HEIGHT - 20), 1)

    rows = []
    for number, (name, entry) in enumerate(_ranked(sweep)):
        seen = [point for point in sweep["doses"] if name in point["detected"]]
        marks = [(round(point["place"] * _WIDTH, 1), point["detected"][name]["latency"]) for point in seen]
        rows.append({"name": name, "y": _HEIGHT + _ROW * (number + 0.75), "marks": marks, **entry})
    return {
        **sweep,
        "points": [(round(point["place"] * _WIDTH, 1), height(point["metric"]), point) for point in points],
        "clean_height": height(sweep["clean"]) if sweep["clean"] is not None else None,
        "rows": rows,
        "ticks": [(round(point["place"] * _WIDTH, 1), point["value"]) for point in sweep["doses"]],
        "width": _WIDTH,
        "height": _HEIGHT + _ROW * (len(rows) + 0.5),
        "plot": _HEIGHT,
        "low": low,
        "high": high,
    }


def _ranked(sweep: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    place = {point["value"]: point["place"] for point in sweep["doses"]}
    return sorted(
        sweep["detectors"].items(),
        key=lambda item: (place.get(item[1]["smallest"], 2.0), item[1]["first_detection"], item[0]),
    )

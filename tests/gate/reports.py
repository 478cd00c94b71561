"""Reports on disk for the tests of the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultlab.core import seal
from faultlab.core.report import Report
from tests.support import Called, detection, report, result, run_folder

GUARD = detection("guard", "Moves", names_cause=True)
DETECTED = result("a.detected@always", "detected", detected_by=[GUARD])
SILENT = result("a.silent@always", "silent", severity="critical")
Gate = Callable[..., Called]


def whole(out: Path, *more: Any, **fields: Any) -> Path:
    return run_folder(out, report(DETECTED, SILENT, *more, **fields)) / "report.json"


def edit(file: Path, change: Callable[[dict[str, Any]], None], sealed: bool = False) -> None:
    data = json.loads(file.read_text())
    change(data)
    if sealed:
        data["digest"] = seal.digest_of(data)
    file.write_text(json.dumps(data))


def look_green(data: dict[str, Any]) -> None:
    """Everything that a report says, so that it agrees with itself."""
    silent = next(fault for fault in data["faults"] if fault["mode"] == SILENT.mode)
    silent.update(status="detected", detected_by=[GUARD.to_json()])
    counts = Report.from_json(data)
    data["coverage"] = json.loads(json.dumps(counts.coverage()))
    data["gate"].update(passed=True, reasons=[], kinds=[])

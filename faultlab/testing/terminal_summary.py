"""The section that ``pytest --faultlab`` prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from faultlab.catalogue import index
from faultlab.core.detection import Detection
from faultlab.core.kill_matrix import Matrix
from faultlab.core.report import Report, Status
from faultlab.report.text import harmless, short

_SHOWN = 15
_BY_KIND = {
    "test": "an assertion of the test",
    "module": "a check in your code",
    "framework": "an incidental crash",
    "process": "the end of the process",
}


def show(terminal: Any, matrix: Matrix, report: Report | None, reasons: Sequence[str]) -> None:
    """Print the section: coverage, the faults that no test detects, and with a matrix the value of each test."""
    terminal.section("faultlab", "=")
    if report is not None:
        _show(terminal, matrix, report)
    for reason in reasons:
        terminal.write_line(f"FAULTLAB FAILED: {harmless(reason)}", red=True)


def _show(terminal: Any, matrix: Matrix, report: Report) -> None:
    statuses = report.by_mode()
    counts = report.to_json()["coverage"]["modes"]
    say = terminal.write_line
    say(f"target: {', '.join(matrix.targets)}")
    by_kind = Counter(_kinds(report).values())
    detected = ", ".join(f"{count} by {_BY_KIND[kind]}" for kind in _BY_KIND if (count := by_kind[kind]))
    say(f"detected: {counts['detected']} failure modes{f' ({detected})' if detected else ''}")
    if counts["warned"]:
        say(f"only a warning: {counts['warned']}: {_listed(statuses, Status.WARNED)}")
    unreached = [row.result for row in matrix.rows if row.untested]
    say(f"silent: {counts['silent']}, under which every test passes")
    shown = report.silent()[:_SHOWN]
    for fault in shown:
        say(f"    {fault.id}  ({fault.severity}) {index.modes()[fault.mode].summary}")
    if counts["silent"] > _SHOWN:
        say(f"    ... and {counts['silent'] - _SHOWN} more; list all of them with --faultlab-out DIR")
    if shown:
        say(f"    Try one: faultlab explain {shown[0].mode}, or pytest --faultlab-inject {shown[0].mode}")
    if unreached:
        say(f"untested: {len(unreached)} that no test reaches: {short(', '.join(f.mode for f in unreached), 400)}")
    if counts["no_effect"]:
        say(f"no effect on the tests' trainings: {counts['no_effect']}")
    for test, reason in matrix.left_out.items():
        say(f"left out: {test} ({harmless(short(reason.splitlines()[0]))})")
    if matrix.whole:
        for test in matrix.idle():
            say(f"detects nothing: {test}")
        once: dict[str, list[str]] = {}
        for fault_id, test in matrix.killed_once().items():
            once.setdefault(test, []).append(fault_id)
        for test, faults in sorted(once.items()):
            say(f"the only test to detect {len(faults)}: {test}: {short(', '.join(faults), 200)}")
    ratio = "nothing to measure" if report.ratio is None else f"coverage {report.ratio:.2f}"
    silent, unsure = counts["silent"], counts["error"] + counts["timeout"] + counts["not_activated"]
    more = f", {unsure} inconclusive" if unsure else ""
    took = f"{matrix.timing['total']:.1f} s"
    text = f"{ratio}: {counts['detected']} detected, {counts['warned']} only warned, {silent} silent{more}; {took}"
    say(text, green=not silent, yellow=bool(silent), bold=True)


def _kinds(report: Report) -> dict[str, str]:
    """Return the kind of detector for each failure mode: that of its fault with the weakest detection."""
    statuses, worst = report.by_mode(), dict[str, Detection]()
    for fault in report.faults:
        if statuses[fault.mode] is Status.DETECTED and fault.status is Status.DETECTED and fault.best is not None:
            worst[fault.mode] = max(worst.get(fault.mode, fault.best), fault.best, key=lambda found: found.worth)
    return {mode: found.kind for mode, found in worst.items()}


def _listed(statuses: dict[str, Status], status: Status) -> str:
    return short(", ".join(mode for mode, found in statuses.items() if found is status), 400)

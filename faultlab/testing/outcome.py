"""What the tests say of each fault: the verdict, and the row of the kill matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from faultlab.campaign.verdict import detection, died, timed_out
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.kill_matrix import Cell, Row
from faultlab.core.notice import Notice
from faultlab.core.report import FaultResult, Status
from faultlab.core.results import Outcome


def judge(fault_id: str, mode: FailureMode, outcomes: Sequence[Outcome], clean: Collection[str]) -> Row:
    """The verdict of the tests on one fault.

    ``outcomes`` are those of the processes that it took: after a crash the tests that were left ran in another.
    ``clean`` has the warnings of the clean suite.
    """
    notes = [note for outcome in outcomes for note in outcome.notes]
    last = outcomes[-1]
    ended = [note for note in notes if "ended" in note]
    cells = [_cell(note) for note in ended]
    acting = next((outcome.acting for outcome in outcomes if outcome.acting is not None), None)
    first_steps = [cell.first_step for cell in cells if cell.first_step is not None]
    base: dict[str, Any] = {
        "id": fault_id,
        "mode": mode.id,
        "family": mode.family,
        "severity": mode.severity,
        "activations": sum(cell.activations for cell in cells) or int(acting is not None),
        "first_step": min(first_steps, default=acting),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 4),
    }

    def verdict(status: Status, reason: str = "", **more: Any) -> FaultResult:
        return FaultResult(**{**base, **more}, status=status, reason=reason)

    broken = next((note["broken"] for note in notes if note.get("broken")), "")
    if broken or last.lost:
        return Row(verdict(Status.ERROR, f"the injector failed: {broken}" if broken else last.lost), cells)
    dead = [(outcome, _unfinished(outcome)) for outcome in outcomes if not outcome.reported]
    noticed = [_detected(cell, mode) for cell in cells if cell.kills and cell.kind != "process"]
    # What ended the session without ending its process, as Ctrl-C does.
    stopped = [_detected(cell, mode) for cell in cells if cell.kind == "process" and cell.message and cell.activations]
    for outcome, test in dead:
        cells.append(Cell(test, "failed", "process", _how(outcome), int(outcome.acting is not None), outcome.acting))
    for outcome, test in dead:
        found = timed_out(mode, outcome, verdict) if outcome.timed_out else died(outcome, verdict)
        if found.status is not Status.NOTICED and not noticed:
            reason = f"{found.reason}, in {test}" if test else found.reason
            return Row(verdict(found.status, reason), cells)
        noticed += found.noticed_by
    noticed += stopped
    if noticed:
        return Row(verdict(Status.NOTICED, noticed_by=sorted(noticed, key=lambda d: (d.worth, d.step))), cells)
    if not any(cell.activations for cell in cells):
        return Row(verdict(Status.NOT_ACTIVATED, "the fault never changed a value in any of these tests"), cells)
    warnings = [
        # Whichever test comes first gets what is warned of once a process: the suite's clean warnings are one heap.
        text
        for note in ended
        for text in note["ended"]["warnings"]
        if text not in clean
    ]
    if warnings:
        return Row(verdict(Status.WARNED, warnings=list(dict.fromkeys(warnings))), cells)
    if mode.judged_by == "run" and all(note["same"] for note in ended if note["activations"]):
        return Row(verdict(Status.NO_EFFECT, "the tests' trainings are the clean ones, to the bit"), cells)
    return Row(verdict(Status.SILENT), cells)


def remaining(order_items: Sequence[str], outcome: Outcome) -> list[str]:
    """The tests that a process that died has left undone, without the one that it died in."""
    seen = {note[key]["test"] for note in outcome.notes for key in ("begins", "ended") if key in note}
    return [test for test in order_items if test not in seen]


def _cell(note: Mapping[str, Any]) -> Cell:
    ended = note["ended"]
    return Cell(
        test=ended["test"],
        outcome=ended["outcome"],
        kind=ended["kind"],
        message=ended["message"],
        activations=note["activations"],
        first_step=note["first_step"],
        step=note["step"],
        seconds=round(ended["seconds"], 4),
    )


def _detected(cell: Cell, mode: FailureMode) -> Any:
    notice = Notice(cell.kind, cell.test, cell.step, cell.message)
    return detection(notice, cell.first_step, mode)


def _unfinished(outcome: Outcome) -> str:
    """The test that the process died in."""
    begun = [note["begins"]["test"] for note in outcome.notes if "begins" in note]
    ended = {note["ended"]["test"] for note in outcome.notes if "ended" in note}
    return begun[-1] if begun and begun[-1] not in ended else ""


def _how(outcome: Outcome) -> str:
    return "it never ended" if outcome.timed_out else f"the process ended with status {outcome.exit}"

"""What the tests say of each fault: the verdict, and the row of the kill matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faultlab.campaign.verdict import detection, died, timed_out
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.notice import Notice
from faultlab.core.orders import Outcome
from faultlab.core.report import FaultResult, Status

SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """What one test did under one fault.

    ``outcome`` is passed, failed or skipped; ``kind`` why it failed: ``test`` for an assertion of its own, ``module``
    for a check in the user's code, ``framework`` for an incidental crash, ``process`` where the process ended in it.
    ``step`` is the training step that the test was in, ``first_step`` that of the fault's first activation in it.
    """

    test: str
    outcome: str
    kind: str = ""
    message: str = ""
    activations: int = 0
    first_step: int | None = None
    step: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> bool:
        """Whether the test failed because of the fault."""
        return self.outcome == "failed" and (self.activations > 0 or self.kind == "process")


@dataclass
class Row:
    """One fault, the verdict that the tests give it, and what each test that was run did.

    ``settled`` says that others have detected the fault, and its tests were run until one failed.
    """

    result: FaultResult
    cells: list[Cell] = field(default_factory=list)
    settled: bool = False

    @property
    def killers(self) -> list[str]:
        return [cell.test for cell in self.cells if cell.kills]


@dataclass
class Matrix:
    """The kill matrix, faults x tests. ``whole`` says that every test was run that a fault reaches, but for faults that
    are settled: of these a test that notices nothing else has been run under each.

    ``seconds`` are each test's on the clean code, with those of its ``fixtures`` of wider scopes, which it may share.
    ``left_out`` says of tests why they take no part: they fail, are flaky, or are broken (they fail under a fault that
    never acts).
    """

    targets: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    complete: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    fixtures: dict[str, dict[str, float]] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)

    def kills(self) -> dict[str, int]:
        """How many faults each test notices; 0 for those that notice none."""
        counted = Counter(test for row in self.rows for test in row.killers)
        return {test: counted[test] for test in self.tests}

    def killed_once(self) -> dict[str, str]:
        """The faults that a single test notices, and which; it takes a whole matrix to tell."""
        whole = [row for row in self.rows if self.whole and not row.settled]
        return {row.result.id: row.killers[0] for row in whole if len(row.killers) == 1}

    def idle(self) -> list[str]:
        """The tests that notice no fault; it takes a whole matrix to tell."""
        return [test for test, count in self.kills().items() if self.whole and not count]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "targets": self.targets,
            "whole": self.whole,
            "tests": [
                {
                    "test": test,
                    "seconds": round(self.seconds.get(test, 0.0), 4),
                    "fixtures": {name: round(seconds, 4) for name, seconds in self.fixtures.get(test, {}).items()},
                    "kills": count,
                }
                for test, count in self.kills().items()
            ],
            "left_out": self.left_out,
            "killed_once": self.killed_once(),
            "faults": [
                {
                    "id": row.result.id,
                    "status": row.result.status,
                    "settled": row.settled,
                    "cells": [asdict(cell) for cell in row.cells],
                }
                for row in self.rows
            ],
            "timing": self.timing,
        }


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
    dead = [(outcome, _unfinished(outcome)) for outcome in outcomes if outcome.result is None]
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

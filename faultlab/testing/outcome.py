"""The tests' verdict on each fault, and its row of the kill matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from faultlab.campaign.process_ends import died, timed_out
from faultlab.campaign.verdict import detection
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection
from faultlab.core.kill_matrix import Cell, Row
from faultlab.core.report import FaultResult, Status
from faultlab.core.results import Outcome
from faultlab.core.verdict import Answer, Case, decide


def judge(fault_id: str, mode: FailureMode, outcomes: Sequence[Outcome], clean: Collection[str]) -> Row:
    """Return the verdict of the tests on one fault.

    ``outcomes`` has one for each process: after a crash the remaining tests ran in another. ``clean`` has the warnings
    of the clean suite.
    """
    case = _Tests(mode, outcomes, clean)
    first_steps = [cell.first_step for cell in case.ended if cell.first_step is not None]
    answer = decide(case)
    result = FaultResult(
        id=fault_id,
        mode=mode.id,
        family=mode.family,
        severity=mode.severity,
        status=answer.status,
        reason=answer.reason,
        activations=sum(cell.activations for cell in case.ended) or int(case.acting is not None),
        first_step=min(first_steps, default=case.acting),
        detected_by=list(answer.detected_by),
        warnings=case.warnings if answer.status is Status.WARNED else [],
        seconds=round(sum(outcome.seconds for outcome in outcomes), 4),
    )
    return Row(result, case.ended if case.failed() is not None else case.cells)


class _Tests(Case):
    """The tests under a fault. ``ended`` has those that finished, ``cells`` all of them."""

    def __init__(self, mode: FailureMode, outcomes: Sequence[Outcome], clean: Collection[str]) -> None:
        self._mode = mode
        self._outcomes = outcomes
        self._clean = clean
        self._notes = [note for outcome in outcomes for note in outcome.notes]
        self._ends = [note for note in self._notes if "ended" in note]
        self._dead = [(outcome, _unfinished(outcome)) for outcome in outcomes if not outcome.reported]
        self.ended = [_cell(note) for note in self._ends]
        self.cells = [*self.ended, *(_died_in(test, outcome) for outcome, test in self._dead)]
        self.acting = next((outcome.acting for outcome in outcomes if outcome.acting is not None), None)

    def failed(self) -> str | None:
        if broken := next((note["broken"] for note in self._notes if note.get("broken")), ""):
            return f"the injector failed: {broken}"
        return next((outcome.lost for outcome in self._outcomes if outcome.lost), None)

    def died(self) -> Answer | None:
        """Return the first death that proves nothing, unless a test has detected the fault before."""
        detected = bool(self._asserted)
        for answer, test in self._deaths:
            if answer.status is not Status.DETECTED and not detected:
                return replace(answer, reason=f"{answer.reason}, in {test}" if test else answer.reason)
            detected = detected or answer.status is Status.DETECTED
        return None

    def never_acted(self) -> str | None:
        acted = any(cell.activations for cell in self.cells)
        return None if acted else "the fault never changed a value in any of these tests"

    def detected_by(self) -> Sequence[Detection]:
        deadly = [found for answer, _ in self._deaths for found in answer.detected_by]
        # Exceptions that end the session but not its process, such as Ctrl-C.
        stopped = [cell for cell in self.ended if cell.kind == "process" and cell.message and cell.activations]
        found = [*self._asserted, *deadly, *(_detected(cell, self._mode) for cell in stopped)]
        return sorted(found, key=lambda d: (d.worth, d.step))

    def warned(self) -> str | None:
        return "" if self.warnings else None

    def unchanged(self) -> str | None:
        same = all(note["same"] for note in self._ends if note["activations"])
        return "the tests' trainings are bitwise the clean ones" if self._mode.judged_by == "run" and same else None

    @cached_property
    def warnings(self) -> list[str]:
        """The warnings that the clean suite does not give."""
        # The first test gets the warnings that come once a process, so all clean warnings of the suite are known.
        texts = [text for note in self._ends for text in note["ended"]["warnings"] if text not in self._clean]
        return list(dict.fromkeys(texts))

    @cached_property
    def _asserted(self) -> list[Detection]:
        return [_detected(cell, self._mode) for cell in self.ended if cell.kills and cell.kind != "process"]

    @cached_property
    def _deaths(self) -> list[tuple[Answer, str]]:
        return [
            (timed_out(self._mode, outcome) if outcome.timed_out else died(outcome), test)
            for outcome, test in self._dead
        ]


def remaining(order_items: Sequence[str], outcome: Outcome) -> list[str]:
    """Return the tests that a process that died has not run, without the one it died in."""
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


def _died_in(test: str, outcome: Outcome) -> Cell:
    return Cell(test, "failed", "process", _how(outcome), int(outcome.acting is not None), outcome.acting)


def _detected(cell: Cell, mode: FailureMode) -> Detection:
    alert = Alert(cell.kind, cell.test, cell.step, cell.message)
    return detection(alert, cell.first_step, mode)


def _unfinished(outcome: Outcome) -> str:
    """Return the test that the process died in."""
    begun = [note["begins"]["test"] for note in outcome.notes if "begins" in note]
    ended = {note["ended"]["test"] for note in outcome.notes if "ended" in note}
    return begun[-1] if begun and begun[-1] not in ended else ""


def _how(outcome: Outcome) -> str:
    return "it never ended" if outcome.timed_out else f"the process ended with status {outcome.exit}"

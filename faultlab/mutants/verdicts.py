"""The verdict on a mutant, which joins those of tests and guards in the terms of faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from faultlab.core.detection import Detection
from faultlab.core.report import SOURCE, FaultResult, Status
from faultlab.core.verdict import Case, decide
from faultlab.mutants.by_tests import CRASHED, KILLED, LOST, NOT_ACTIVATED, SURVIVED, TIMEOUT, TestVerdict
from faultlab.mutants.by_training import mode_of
from faultlab.mutants.mutant import Mutant

_RAN = (Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT)


def join(mutant: Mutant, tests: TestVerdict | None, training: FaultResult | None, watches: bool = False) -> FaultResult:
    """Return the joint verdict of tests and training; either is None if a scenario has none.

    ``watches`` is set for code that only observes, such as a guard's: that the training is bitwise the same then proves
    nothing about it.
    """
    case = _Joined(mutant, tests, training, watches)
    answer = decide(case)
    found = replace(_base(mutant, tests, training), status=answer.status, reason=answer.reason)
    if answer.status is not Status.DETECTED:
        return found
    return replace(found, detected_by=list(answer.detected_by), prescription=[])


class _Joined(Case):
    """The verdicts of tests and training on one mutant: one is enough to detect it, equivalence needs both."""

    def __init__(self, mutant: Mutant, tests: TestVerdict | None, training: FaultResult | None, watches: bool) -> None:
        self._mutant = mutant
        self._tests = tests
        self._training = training
        self._watches = watches
        self._by_tests = _detections(tests)
        self._ran_in_tests = tests is not None and tests.outcome == SURVIVED
        self._ran_in_training = training is not None and training.status in _RAN

    def exempted(self) -> str | None:
        return self._mutant.exemption or None

    def failed(self) -> str | None:
        if self.detected_by():
            return None
        lost = self._tests.message if self._tests is not None and self._tests.outcome == LOST else ""
        return lost or (_failed(self._training) if self._training is not None else "") or None

    def never_acted(self) -> str | None:
        ran = self._ran_in_tests or self._ran_in_training or self.detected_by()
        return None if ran else "its function never runs" + _by_whom(self._tests, self._training)

    def detected_by(self) -> Sequence[Detection]:
        return [*self._by_tests, *(self._training.detected_by if self._training is not None else ())]

    def aside(self) -> str:
        guard_alone = not self._by_tests and self._tests is not None
        return "the tests miss it, and the training does not" if guard_alone else ""

    def warned(self) -> str | None:
        warned = self._training is not None and self._training.status is Status.WARNED
        return "the training gives a new warning" if warned else None

    def unchanged(self) -> str | None:
        if self._training is None or self._training.status is not Status.NO_EFFECT or self._watches:
            return None
        runs = self._tests if self._ran_in_tests else None
        passed = f", and {_times(runs.tests)} that runs it passes" if runs is not None else ""
        return f"{self._training.reason}{passed}"

    def silence(self) -> str:
        return _survival(self._tests, self._training, self._ran_in_tests, self._ran_in_training)


def _base(mutant: Mutant, tests: TestVerdict | None, training: FaultResult | None) -> FaultResult:
    said: dict[str, Any] = {
        key: value for key, value in asdict(mutant).items() if key not in ("name", "digest", "exemption")
    }
    said["tests"] = None if tests is None else {**asdict(tests), "message": tests.message[:500]}
    said["training"] = None if training is None else {"status": training.status.value, "reason": training.reason}
    mode = mode_of(mutant)
    ran = tests is not None and tests.outcome != NOT_ACTIVATED
    return FaultResult(
        mutant.name,
        mode.id,
        SOURCE,
        mode.severity,
        Status.ERROR,
        activations=max(int(ran), training.activations if training is not None else 0),
        first_step=training.first_step if training is not None else None,
        warnings=training.warnings if training is not None else [],
        harm=training.harm if training is not None else None,
        prescription=training.prescription if training is not None else [],
        seconds=round((tests.seconds if tests else 0.0) + (training.seconds if training else 0.0), 4),
        mutant=said,
    )


def _detections(tests: TestVerdict | None) -> list[Detection]:
    if tests is None or tests.outcome not in (KILLED, TIMEOUT, CRASHED):
        return []
    name = tests.test or "pytest"
    if tests.outcome == KILLED:
        return [Detection(tests.kind or "test", name, 0, 0, False, tests.message)]
    how = "it never ends" if tests.outcome == TIMEOUT else "it ends the process"
    return [Detection("process", name, 0, 0, False, f"{how}: {tests.message}")]


def _failed(training: FaultResult) -> str:
    return training.reason if training.status in (Status.ERROR, Status.TIMEOUT) else ""


def _by_whom(tests: TestVerdict | None, training: FaultResult | None) -> str:
    judges = [name for name, judge in (("in a test", tests), ("in the training", training)) if judge is not None]
    return f", {'neither ' * (len(judges) > 1)}{' nor '.join(judges)}" if judges else ""


def _survival(tests: TestVerdict | None, training: FaultResult | None, in_tests: bool, in_training: bool) -> str:
    said = []
    if tests is not None:
        said.append(f"{_times(tests.tests)} that runs it passes" if in_tests else "no test runs it")
    if training is not None:
        goes_on = training.reason or "the training changes"
        if training.status is Status.NO_EFFECT:
            goes_on = "the training is the same with it"
        said.append(f"{goes_on}, and no guard detects it" if in_training else "the training does not run it")
    return "; ".join(said)


def _times(tests: int) -> str:
    return "the only test" if tests == 1 else f"each of {tests} tests"

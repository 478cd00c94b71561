"""The verdict on a mutant: what tests and guards say of it, joined in the words that faults have."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from faultlab.core.report import SOURCE, Detection, FaultResult, Status
from faultlab.mutants.by_tests import CRASHED, KILLED, LOST, NOT_ACTIVATED, SURVIVED, TIMEOUT, TestVerdict
from faultlab.mutants.by_training import mode_of
from faultlab.mutants.mutant import Mutant

_RAN = (Status.NOTICED, Status.WARNED, Status.SILENT, Status.NO_EFFECT)


def join(mutant: Mutant, tests: TestVerdict | None, training: FaultResult | None, watches: bool = False) -> FaultResult:
    """The verdict of all who judged it; either is None where a scenario has none of them.

    ``watches`` says that the code only looks on, as a guard does: that the training is the same to the bit then says
    nothing of the code.
    """
    base = _base(mutant, tests, training)
    if mutant.excuse:
        return replace(base, status=Status.IGNORED, reason=mutant.excuse)
    by_tests = _detections(tests)
    detections = [*by_tests, *(training.noticed_by if training is not None else ())]
    if detections:
        guard_alone = not by_tests and tests is not None
        reason = "the tests miss it, and the training does not" if guard_alone else ""
        return replace(base, status=Status.NOTICED, reason=reason, noticed_by=detections, prescription=[])
    for lost in (tests and tests.outcome == LOST and tests.message, training and _failed(training)):
        if lost:
            return replace(base, status=Status.ERROR, reason=str(lost))
    ran_in_tests = tests is not None and tests.outcome == SURVIVED
    ran_in_training = training is not None and training.status in _RAN
    if not ran_in_tests and not ran_in_training:
        return replace(base, status=Status.NOT_ACTIVATED, reason="its function never runs" + _by_whom(tests, training))
    if ran_in_training and training is not None and training.status is Status.WARNED:
        return replace(base, status=Status.WARNED, reason="a new warning goes by in the training")
    if ran_in_training and training is not None and training.status is Status.NO_EFFECT and not watches:
        passed = f", and {_times(tests.tests)} that runs it passes" if ran_in_tests and tests is not None else ""
        return replace(base, status=Status.NO_EFFECT, reason=f"{training.reason}{passed}")
    return replace(base, status=Status.SILENT, reason=_survival(tests, training, ran_in_tests, ran_in_training))


def _base(mutant: Mutant, tests: TestVerdict | None, training: FaultResult | None) -> FaultResult:
    said: dict[str, Any] = {
        key: value for key, value in asdict(mutant).items() if key not in ("name", "digest", "excuse")
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
        goes_on = training.reason or "the training goes another way"
        if training.status is Status.NO_EFFECT:
            goes_on = "the training is the same with it"
        said.append(f"{goes_on}, and no guard speaks up" if in_training else "the training does not run it")
    return "; ".join(said)


def _times(tests: int) -> str:
    return "the only test" if tests == 1 else f"each of {tests} tests"

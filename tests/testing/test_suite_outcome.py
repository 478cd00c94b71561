"""What tests say of faults: why one failed, the verdict on a fault, the kill matrix, and how a campaign joins them."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faultlab.campaign.scenario_tests import Judged, join
from faultlab.catalogue import index
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.fault import Fault
from faultlab.core.kill_matrix import Matrix
from faultlab.core.report import Status
from faultlab.core.results import Outcome, SuiteRun
from faultlab.core.user_code import UserCode
from faultlab.guards import LossContract
from faultlab.testing.failures import Suspects, why
from faultlab.testing.outcome import judge, remaining
from tests.support import detection, result
from tests.zoo import guards

SUSPECTS = Suspects({Path(__file__)}, UserCode(frozenset(), (str(Path(__file__).parents[1] / "zoo"),)))
LOSS_NAN = index.modes()["loss.nan"]


def raised_by(code: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as found:  # noqa: PT011
        code()
    return found.value


def _asserts() -> None:
    assert torch.ones(1).item() == 2


def _raises() -> None:
    raise RuntimeError("a check of the test's own")


def _expects_a_raise() -> None:
    with pytest.raises(ValueError, match="never"):
        pass


def _expects_by_unittest() -> None:
    unittest.TestCase().assertEqual(1, 2)  # noqa: PT009


def _is_checked_by_the_users_code() -> None:
    guards.CriesWolf().on_train_start(None, None)


def _alarms() -> None:
    LossContract().alarm("not-finite", "the loss is nan", "Look at this batch.")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (_asserts, "test"),
        (_raises, "test"),
        (_expects_a_raise, "test"),
        (_expects_by_unittest, "test"),
        (lambda: torch.testing.assert_close(torch.ones(1), torch.zeros(1)), "test"),
        (lambda: np.testing.assert_array_equal([1], [2]), "test"),
        (lambda: pytest.fail("no"), "test"),
        (_is_checked_by_the_users_code, "module"),
        (_alarms, "module"),
        (lambda: torch.ones(2) @ torch.ones(3), "framework"),
        (lambda: [][0], "framework"),
        (lambda: torch.nn.Linear(2, 2)(torch.ones(3)), "framework"),
    ],
)
def test_a_failure_is_an_assertion_a_check_or_luck(code: Callable[[], Any], kind: str) -> None:
    assert why(raised_by(code), SUSPECTS) == kind


def note(test: str, outcome: str = "passed", **more: Any) -> dict[str, Any]:
    ended = {"test": test, "outcome": outcome, "kind": "", "message": "", "seconds": 0.1, "warnings": []}
    ended.update({key: more.pop(key) for key in list(more) if key in ended})
    return {"ended": ended, "activations": 1, "first_step": 0, "step": 2, "same": False, "broken": "", **more}


def ran(*notes: dict[str, Any], **more: Any) -> Outcome:
    return Outcome("loss.nan", **{"results": [SuiteRun()], "notes": list(notes), "acting": 0, **more})


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (ran(note("a", "failed", kind="test", message="assert nan < 1")), Status.DETECTED),
        (ran(note("a"), note("b", "failed", kind="framework")), Status.DETECTED),
        (ran(note("a"), note("b", "skipped")), Status.SILENT),
        (ran(note("a", warnings=["UserWarning: new"])), Status.WARNED),
        (ran(note("a", warnings=["UserWarning: old"])), Status.SILENT),
        (ran(note("a", same=True)), Status.NO_EFFECT),
        (ran(note("a", same=True), note("b", same=None)), Status.SILENT),
        (ran(note("a", activations=0)), Status.NOT_ACTIVATED),
        # A test that fails without the fault in it is no catch.
        (ran(note("a", "failed", kind="test", activations=0), note("b")), Status.SILENT),
        (ran(note("a", "failed", kind="framework", broken="TypeError: ours")), Status.ERROR),
        (ran({"broken": "TypeError: ours"}), Status.ERROR),
        (ran(lost="its fork server"), Status.ERROR),
        (ran({"begins": {"test": "a"}}, results=[], exit=-11), Status.DETECTED),
        (ran({"begins": {"test": "a"}}, results=[], exit=0), Status.SILENT),
        (ran({"begins": {"test": "a"}}, results=[], exit=-11, acting=None), Status.ERROR),
        (ran({"begins": {"test": "a"}}, results=[], timed_out=True), Status.TIMEOUT),
        (
            ran(note("a", "failed", kind="test"), {"begins": {"test": "b"}}, results=[], timed_out=True),
            Status.DETECTED,
        ),
    ],
)
def test_the_verdict_of_the_tests(outcome: Outcome, status: Status) -> None:
    assert judge("loss.nan", LOSS_NAN, [outcome], {"UserWarning: old"}).result.status is status


def test_an_assertion_is_worth_more_than_luck_and_names_its_step() -> None:
    crash = note("crash", "failed", kind="framework", message="RuntimeError: shapes", step=1)
    named = note("named", "failed", kind="test", message="assert isfinite(nan)", step=3, first_step=1)
    found = judge("loss.nan", LOSS_NAN, [ran(crash, named)], ()).result.detected_by
    assert [(one.name, one.kind, one.step, one.latency, one.names_cause) for one in found] == [
        ("named", "test", 3, 2, True),
        ("crash", "framework", 1, 1, False),
    ]


def test_after_a_crash_the_tests_that_were_left_still_count() -> None:
    crashed = ran(note("a"), {"begins": {"test": "b"}}, results=[], exit=-11)
    assert remaining(["a", "b", "c"], crashed) == ["c"]
    row = judge("loss.nan", LOSS_NAN, [crashed, ran(note("c", "failed", kind="test", message="assert"))], ())
    assert [(found.kind, found.name) for found in row.result.detected_by] == [("test", "c"), ("process", "exit")]
    assert sorted(row.killers) == ["b", "c"]


def matrix(whole: bool = True) -> Matrix:
    rows = [
        judge("loss.nan", LOSS_NAN, [ran(note("a", "failed", kind="test"), note("b", "failed", kind="test"))], ()),
        judge("loss.nan@step=3", LOSS_NAN, [ran(note("a", "failed", kind="test"), note("b"))], ()),
    ]
    return Matrix(["pkg.Lit"], ["a", "b", "c"], rows, whole=whole)


def test_a_whole_matrix_tells_idle_tests_and_lonely_ones() -> None:
    assert matrix().kills() == {"a": 2, "b": 1, "c": 0}
    assert matrix().idle() == ["c"]
    assert matrix().killed_once() == {"loss.nan@step=3": "a"}
    # Of tests that were not run nothing is known.
    assert matrix(whole=False).idle() == []
    assert matrix(whole=False).killed_once() == {}


def test_of_a_fault_that_others_have_detected_nobody_is_alone_in_detecting_it() -> None:
    found = matrix()
    found.rows[1].settled = True
    assert found.killed_once() == {}
    assert found.kills() == {"a": 2, "b": 1, "c": 0}
    assert [entry["settled"] for entry in found.to_json()["faults"]] == [False, True]


def by_test(name: str = "tests/test_a.py::test_it") -> Detection:
    return Detection("test", name, 0, 0, False, "assert 0")


@pytest.mark.parametrize("status", [Status.SILENT, Status.WARNED, Status.NO_EFFECT, Status.DETECTED])
def test_what_a_test_detects_is_detected(status: Status) -> None:
    fault, judged = Fault.parse("loss.nan@step=12"), Judged({Fault("loss.nan"): [by_test()]})
    guard = [Prescribed("faultlab.guards.Gradients", 12, 0.1)]
    joined = join(fault, result(str(fault), status, detected_by=[detection()], prescription=guard), judged)
    assert joined.prescription == [], "no guard would add what a test detects"
    assert joined.status is Status.DETECTED
    assert [found.kind for found in joined.detected_by] == ["guard", "test"]
    # An interrupted campaign that goes on asks the tests again.
    assert join(fault, joined, judged).detected_by == joined.detected_by


@pytest.mark.parametrize("status", [Status.ERROR, Status.TIMEOUT, Status.NOT_ACTIVATED, Status.NOT_APPLICABLE])
def test_no_test_makes_up_for_what_is_inconclusive(status: Status) -> None:
    fault = Fault.parse("loss.nan@step=12")
    found = result(str(fault), status)
    assert join(fault, found, Judged({Fault("loss.nan"): [by_test()]})) == found


def test_another_dose_is_another_fault_to_the_tests() -> None:
    fault = Fault.parse("label.noisy:fraction=0.5@always")
    found = result(str(fault), Status.SILENT)
    assert join(fault, found, Judged({Fault("label.noisy"): [by_test()]})).status is Status.SILENT
    assert join(fault, found, Judged({Fault("label.noisy", {"fraction": 0.5}): [by_test()]})).status is Status.DETECTED


def test_a_test_is_the_detector_whatever_made_it_fail() -> None:
    assert by_test().who == ("test", "tests/test_a.py::test_it")
    assert Detection("framework", "tests/test_a.py::test_it", 0, 0, False, "").who == (
        "test",
        "tests/test_a.py::test_it",
    )
    assert Detection("framework", "exception", 0, 0, False, "").who == ("framework", "")

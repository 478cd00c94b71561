"""Tests that can't be relied on, and tests that end the process that they run in."""

from __future__ import annotations

import pytest

from tests.suites import faultlabbed

MORE = pytest.mark.nightly(
    reason="one more unruly suite; the quick ring has one that ends processes, and one that can't be relied on"
)

FAILING = """
    import os
    import pathlib
    import pytest
    from mymodel import LitModel, trained


    def test_it_trains():
        trained()


    def test_wrong_sum():
        assert 1 + 1 == 3


    def test_nobody_watches():
        trained()
        assert not hasattr(LitModel.training_step, "__wrapped__")


    def test_every_second_process():
        with pathlib.Path("processes").open("a") as file:
            file.write(".")
        assert pathlib.Path("processes").stat().st_size % 2
"""


def test_tests_that_can_not_be_relied_on_end_the_run_with_their_names(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, FAILING, "--faultlab-jobs=1", select="step.raises")
    assert ran.status == 1
    ran.says(
        "FAULTLAB FAILED: 3 tests are not reliable:",
        "test_suite.py::test_wrong_sum (it fails on the clean code: AssertionError: assert (1 + 1) == 3)",
        "test_suite.py::test_nobody_watches (broken: it fails with faults that never act, or in another order: Assert",
        "test_suite.py::test_every_second_process (flaky: it passes and fails on the clean code: AssertionError",
        "Fix them, or leave them out with --faultlab-leave-out.",
        "= 1 failed, 3 passed",
    )
    assert not ran.report


@MORE
def test_they_are_left_out_where_that_is_asked(pytester: pytest.Pytester) -> None:
    suite = FAILING.replace("1 + 1 == 3", "1 + 1 == 2")
    ran = faultlabbed(pytester, suite, "--faultlab-jobs=1", "--faultlab-leave-out", "-x", select="step.raises")
    ran.says(
        "left out: test_suite.py::test_nobody_watches (broken: ",
        "left out: test_suite.py::test_every_second_process (flaky: ",
        "coverage 1.00: 1 detected",
        "= 4 passed",
    )
    assert sorted(ran.tests["left_out"]) == [
        "test_suite.py::test_every_second_process",
        "test_suite.py::test_nobody_watches",
    ]
    assert ran.kinds("step.raises") == {"test_it_trains": "framework"}
    assert ran.status == 0


DEADLY = """
    import ctypes
    import os
    import pathlib
    import pytest
    from mymodel import is_finite, trained


    def test_a_check():
        assert is_finite(trained())


    def test_a_worker_that_exits():
        if not is_finite(trained()):
            os._exit(3)


    def test_a_bad_pointer():
        if not is_finite(trained()):
            ctypes.string_at(0)


    def test_a_loop_without_end():
        finite = is_finite(trained())
        while not finite:
            pass


    @pytest.mark.timeout(1, method="thread")
    def test_a_loop_that_a_thread_ends():
        finite = is_finite(trained())
        while not finite:
            pass


    @pytest.mark.timeout(1, method="signal")
    def test_a_loop_that_a_signal_ends():
        finite = is_finite(trained())
        while not finite:
            pass


    def test_an_exit():
        if not is_finite(trained()):
            pytest.exit("enough")


    def test_last():
        trained()
        pathlib.Path("ends").open("a").write("x")
"""


def test_what_ends_a_process_costs_one_test_alone(pytester: pytest.Pytester) -> None:
    faults = "loss.nan loss.negated loss.zeroed batch.extra-dimension"
    ran = faultlabbed(pytester, DEADLY, "--faultlab-matrix", "--faultlab-timeout=3", "-p", "no:randomly", select=faults)
    assert ran.verdicts == {
        "batch.extra-dimension": "detected",
        "loss.nan": "detected",
        "loss.negated": "silent",
        "loss.zeroed": "silent",
    }, ran.text
    assert ran.kinds("loss.nan") == {
        "test_a_check": "test",
        "test_a_worker_that_exits": "process",
        "test_a_bad_pointer": "process",
        "test_a_loop_without_end": "process",
        "test_a_loop_that_a_thread_ends": "process",
        "test_a_loop_that_a_signal_ends": "test",
        "test_an_exit": "process",
        "test_last": "",
    }
    told = {test: cell["message"] for test, cell in ran.cells("loss.nan").items()}
    assert told["test_a_worker_that_exits"] == "the process ended with status 3"
    assert told["test_a_bad_pointer"] == "the process ended with status -11"
    assert told["test_a_loop_without_end"] == "it never ended"
    assert told["test_a_loop_that_a_thread_ends"] == "the process ended with status 1"
    assert "Timeout" in told["test_a_loop_that_a_signal_ends"]
    assert "enough" in told["test_an_exit"]
    assert set(ran.kinds("batch.extra-dimension").values()) == {"module"}
    assert set(ran.kinds("loss.negated").values()) == {""}
    assert (pytester.path / "ends").stat().st_size
    assert ran.status == 0


LATE = """
    import os
    import pathlib
    import time
    from mymodel import is_finite, trained


    def test_a_check_that_is_late_once():
        finite, marker = is_finite(trained()), pathlib.Path(os.environ["LATE"])
        if not finite and not marker.exists():
            marker.touch()
            time.sleep(600)
        assert finite
"""


@MORE
def test_tests_that_were_late_among_others_are_tried_once_more_alone(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Outside of the project: what one victim writes there no other finds.
    marker = tmp_path_factory.mktemp("outside") / "late"
    monkeypatch.setenv("LATE", str(marker))
    ran = faultlabbed(pytester, LATE, "--faultlab-timeout=4", select="loss.nan loss.negated")
    assert marker.exists(), ran.text
    assert ran.verdicts == {"loss.nan": "detected", "loss.negated": "silent"}, ran.text
    assert ran.kinds("loss.nan") == {"test_a_check_that_is_late_once": "test"}
    assert ran.status == 0


@MORE
def test_suites_that_write_and_remove_files_of_a_fixed_name_are_not_in_the_way_of_themselves(
    pytester: pytest.Pytester,
) -> None:
    suite = """
    import pathlib
    import time
    from mymodel import trained


    def test_it_trains():
        trained()
        lock = pathlib.Path("lock")
        for _ in range(10):
            assert not lock.exists()
            lock.touch()
            time.sleep(0.05)
            lock.unlink()
            time.sleep(0.005)
    """
    ran = faultlabbed(pytester, suite, "--faultlab-jobs=2", select="step.raises")
    ran.says("coverage 1.00: 1 detected", "= 1 passed")

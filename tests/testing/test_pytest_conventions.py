"""What tests are written in and with: fixtures of every scope, unittest's classes, parameters, workers, doctests."""

from __future__ import annotations

import pytest

from tests.suites import faultlabbed

FIXTURES = '''
    import logging
    import math
    import os
    import pathlib
    import time
    import unittest
    import pytest
    import torch
    from hypothesis import given, settings, strategies as st
    from mymodel import LitModel, is_finite, loss_of, trained


    def doubled(number):
        """Is a doctest's.

        >>> doubled(2)
        4
        """
        return 2 * number


    def note(name):
        with pathlib.Path(os.environ["NOTES"], name).open("a") as file:
            file.write(".")


    @pytest.fixture(scope="session")
    def slow_rows():
        note("slow_rows")
        time.sleep(0.2)
        return torch.randn(8, 4)


    @pytest.fixture(scope="session")
    def slow_folder(tmp_path_factory):
        time.sleep(0.1)
        return tmp_path_factory.mktemp("slow")


    @pytest.fixture(scope="session")
    def slow_connection():
        note("opened")
        time.sleep(0.1)
        yield "connection"
        note("closed")


    @pytest.fixture(scope="session")
    def trained_for_all():
        note("trained_for_all")
        return trained()


    @pytest.fixture(scope="session")
    def slow_loss(trained_for_all):
        time.sleep(0.1)
        return loss_of(trained_for_all)


    @pytest.fixture(scope="module")
    def trained_for_module(request, slow_rows):
        return trained()


    @pytest.fixture(scope="class", params=[0, 1])
    def trained_for_class(request):
        return trained()


    def test_of_the_session(trained_for_all):
        assert is_finite(trained_for_all)


    def test_of_the_session_again(trained_for_all, slow_folder):
        (slow_folder / "file").write_text("")
        assert is_finite(trained_for_all)


    def test_of_what_rests_on_it(slow_loss, slow_rows, slow_connection):
        assert not math.isnan(slow_loss)


    def test_of_the_module(trained_for_module):
        assert is_finite(trained_for_module)


    class TestOfTheClass:
        def test_first(self, trained_for_class):
            assert is_finite(trained_for_class)

        def test_second(self, trained_for_class, trained_for_all):
            assert is_finite(trained_for_class)


    @pytest.mark.parametrize("shuffle", [False, True])
    def test_with_parameters(shuffle, slow_rows):
        assert len(slow_rows) == 8
        assert is_finite(trained(shuffle=shuffle))


    def test_with_a_worker():
        assert is_finite(trained(num_workers=1))


    def test_by_hand():
        assert torch.isfinite(LitModel().training_step((torch.ones(2, 4), torch.ones(2, 1)), 0))


    def test_with_what_pytest_gives(capfd, caplog, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        os.system("echo of another process")
        logging.getLogger("mymodel").warning("beware")
        finite = is_finite(trained())
        pathlib.Path("kept").write_text(str(finite))
        assert capfd.readouterr().out.startswith("of another process")
        assert "beware" in caplog.text
        assert (tmp_path / "kept").read_text() == "True"


    @settings(max_examples=3, deadline=None)
    @given(rows=st.integers(1, 4))
    def test_with_hypothesis(rows):
        assert torch.isfinite(LitModel().training_step((torch.ones(rows, 4), torch.ones(rows, 1)), 0))


    @pytest.mark.xfail(strict=True)
    def test_that_should_fail():
        assert not is_finite(trained())


    @pytest.mark.skipif(True, reason="not now")
    def test_that_is_skipped():
        assert is_finite(trained())


    class OfUnittest(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.trainer = trained()

        def setUp(self):
            self.module = LitModel()

        def test_of_set_up_class(self):
            self.assertTrue(is_finite(self.trainer))

        def test_with_subtests(self):
            for name in ("one", "two"):
                with self.subTest(name):
                    self.assertTrue(is_finite(self.trainer), name)


    class TestWithSetupClass:
        @classmethod
        def setup_class(cls):
            cls.trainer = trained()

        def test_of_setup_class(self):
            assert is_finite(self.trainer)
'''


TESTS = (
    "test_of_the_session",
    "test_of_the_session_again",
    "test_of_what_rests_on_it",
    "test_of_the_module",
    "test_first[0]",
    "test_first[1]",
    "test_second[0]",
    "test_second[1]",
    "test_with_parameters[False]",
    "test_with_parameters[True]",
    "test_with_a_worker",
    "test_with_what_pytest_gives",
    "test_with_hypothesis",
    "test_of_set_up_class",
    "test_with_subtests",
    "test_of_setup_class",
)


@pytest.mark.nightly(
    reason="a suite of every form under faults; the quick ring has the forms that test_pytest_plugin.py is written in"
)
def test_a_fault_reaches_tests_of_every_form_through_their_fixtures(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Outside of the project: what one victim writes there no other finds.
    notes = tmp_path_factory.mktemp("notes")
    monkeypatch.setenv("NOTES", str(notes))
    faults = "loss.nan loss.nan@step=1 loss.negated loader.worker-raises"
    ran = faultlabbed(pytester, FIXTURES, "--faultlab-matrix", "--doctest-modules", select=faults)
    verdicts = {"loader.worker-raises": "detected", "loss.nan": "detected", "loss.negated": "silent"}
    assert (ran.status, ran.verdicts, ran.tests["left_out"]) == (0, verdicts, {}), ran.text
    assert "detected: 2 failure modes (1 by an assertion of the test, 1 by an incidental crash)" in ran.text
    assert "= 18 passed, 1 skipped, 1 xfailed" in ran.text
    assert "PytestRemovedIn" not in ran.text
    assert ran.kinds("loader.worker-raises") == {"test_with_a_worker": "framework"}
    assert ran.kinds("loss.nan") == dict.fromkeys((*TESTS, "test_by_hand"), "test")
    assert ran.kinds("loss.nan@step=1") == dict.fromkeys(TESTS, "test")
    assert ran.kinds("loss.negated") == dict.fromkeys((*TESTS, "test_by_hand"), "")
    # Four clean passes, and then once for all faults, or once for each of the faults that reach it.
    files = ("slow_rows", "trained_for_all", "opened", "closed")
    counts = {file: (notes / file).stat().st_size for file in files}
    assert counts == {"slow_rows": 4 + 1, "trained_for_all": 4 + 3, "opened": 4 + 3, "closed": 4 + 3}


PARTS = """
    import unittest
    import pytest
    from mymodel import is_finite, trained


    def test_parts(subtests):
        trainer = trained()
        for part in ("bias", "loss"):
            with subtests.test(part=part):
                if part == "bias":
                    pytest.skip("not of interest")
                assert is_finite(trainer)


    def test_parts_that_are_expected_to_fail(subtests):
        trainer = trained()
        with subtests.test("bias"):
            pytest.xfail("not yet")
        with subtests.test("loss"):
            assert is_finite(trainer)


    class TestParts(unittest.TestCase):
        def test_parts(self):
            trainer = trained()
            with self.subTest("bias"):
                self.skipTest("not of interest")
            with self.subTest("loss"):
                assert is_finite(trainer)


    @pytest.fixture
    def tidied():
        yield
        pytest.skip("nothing to tidy")


    def test_before_a_fixture_that_is_skipped_at_its_end(tidied):
        assert is_finite(trained())


    def test_nothing_but_skipped():
        trained()
        pytest.skip("not of interest")
"""


@pytest.mark.nightly(
    reason="a suite of its own under faults; the quick ring has the matrix of the suite of test_pytest_plugin.py"
)
def test_a_skipped_subtest_leaves_the_others_of_its_test_to_detect(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, PARTS, "--faultlab-matrix", select="loss.nan loss.negated")
    kills = {entry["test"].partition("::")[2]: entry["kills"] for entry in ran.tests["tests"]}
    assert kills == {
        "test_parts": 1,
        "test_parts_that_are_expected_to_fail": 1,
        "TestParts::test_parts": 1,
        "test_before_a_fixture_that_is_skipped_at_its_end": 1,
    }, ran.text
    assert ran.verdicts == {"loss.nan": "detected", "loss.negated": "silent"}
    assert ran.status == 0

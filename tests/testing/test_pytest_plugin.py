"""``pytest --faultlab`` as a user meets it: what it says of a suite and of its tests, and the status it ends with."""

from __future__ import annotations

import re
import textwrap
from xml.etree import ElementTree

import pytest

from tests.suites import MODEL, faultlabbed, run

MORE = pytest.mark.nightly(
    reason="one more suite under faults; the quick ring has the matrix, the summary, a plain run and wrong usage"
)

SUITE = """
    import torch
    import warnings
    from mymodel import LitModel, is_finite, trained


    def test_loss_is_finite():
        assert is_finite(trained())


    def test_it_trains():
        trained()
        warnings.warn("it takes long")


    def test_it_predicts():
        assert LitModel()(torch.zeros(2, 4)).shape == (2, 1)
"""
FAULTS = """loss.nan batch.extra-dimension return.string process.killed loss.negated return.none scheduler.unstepped
    loss.zeroed@step=500"""
VERDICTS = {
    "batch.extra-dimension": "detected",
    "loss.nan": "detected",
    "loss.negated": "silent",
    "loss.zeroed": "not_applicable",
    "process.killed": "detected",
    "return.none": "warned",
    "return.string": "detected",
    "scheduler.unstepped": "not_applicable",
}


SLOWER = """
    from mymodel import is_finite, trained


    def test_it_trains_long():
        for _ in range(8):
            trained()


    def test_loss_is_finite_at_last():
        assert is_finite([trained() for _ in range(8)][-1])


    def test_loss_is_finite():
        assert is_finite(trained())
"""


@MORE
def test_a_fault_that_others_have_detected_is_run_until_one_test_fails(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(
        pytester, SLOWER, "--faultlab-matrix", "--faultlab-settled=loss.nan", select="loss.nan@always return.string"
    )
    assert list(ran.cells("loss.nan")) == ["test_loss_is_finite"]
    assert set(ran.kinds("return.string").values()) == {"framework"}
    assert len(ran.cells("return.string")) == 3
    assert ran.tests["killed_once"] == {}
    assert [entry["settled"] for entry in ran.tests["faults"]] == [True, False]


@MORE
def test_a_test_that_detects_nothing_was_run_under_every_fault(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, SLOWER, "--faultlab-matrix", "--faultlab-settled=loss.nan", select="loss.nan@always")
    kinds = {"test_loss_is_finite": "test", "test_it_trains_long": "", "test_loss_is_finite_at_last": "test"}
    assert ran.kinds("loss.nan") == kinds
    assert ran.verdicts == {"loss.nan": "detected"}
    ran.says("detects nothing: test_suite.py::test_it_trains_long")


SHARED = """
    import importlib.metadata
    import inspect
    from mymodel import is_finite, trained


    def test_what_is_installed_is_known(monkeypatch):
        def look():
            raise AssertionError("it looks for it anew")

        monkeypatch.setattr(importlib.metadata, "distributions", look)
        assert is_finite(trained())


    def test_the_file_of_every_module_in_the_stack_is_known():
        assert [one.filename for one in inspect.stack() if one.filename not in inspect.modulesbyfile] == []
"""


@MORE
def test_copies_share_what_takes_long_to_learn(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, SHARED, select="loss.nan")
    ran.says("= 2 passed")
    assert ran.kinds("loss.nan") == {"test_what_is_installed_is_known": "test"}


def test_the_summary_tells_who_detects_what(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, SUITE, "--faultlab-matrix", "--pdb", "-W", "ignore:`isinstance", select=FAULTS)
    assert (ran.status, ran.verdicts) == (0, VERDICTS), ran.text
    ran.says(
        "UserWarning: it takes long\n    warnings.warn(",
        "failure modes, targets: found by running the tests",
        "target: mymodel.LitModel",
        "detected: 4 failure modes (1 by an assertion of the test, 1 by a check in your code, 1 by an incidental "
        "crash, 1 by the end of the process)",
        "only a warning: 1: return.none",
        "silent: 1, under which every test passes\n    loss.negated@always  (critical) The loss has the wrong sign.",
        "untested: 1 that no test reaches: loss.zeroed",
        "detects nothing: test_suite.py::test_it_predicts",
        "the only test to detect 1: test_suite.py::test_loss_is_finite: loss.nan",
        "coverage 0.67: 4 detected, 1 only warned, 1 silent",
        "= 3 passed, 1 warning in",
    )
    kinds = {
        "loss.nan": ("test", ""),
        "batch.extra-dimension": ("module", "module"),
        "return.string": ("framework", "framework"),
        "process.killed": ("process", "process"),
        "loss.negated": ("", ""),
    }
    for mode, (finite, trains) in kinds.items():
        assert ran.kinds(mode) == {"test_loss_is_finite": finite, "test_it_trains": trains}
    best = {fault["mode"]: fault["detected_by"][0]["kind"] for fault in ran.report["faults"] if fault["detected_by"]}
    assert best == {mode: finite for mode, (finite, _) in kinds.items() if finite}
    assert {test["test"].rpartition("::")[2]: test["kills"] for test in ran.tests["tests"]} == {
        "test_loss_is_finite": 4,
        "test_it_trains": 3,
        "test_it_predicts": 0,
    }
    assert {file.name for file in (pytester.path / "out").iterdir()} == {"index.html", "report.json", "tests.json"}
    assert not (pytester.path / "index.html").exists()


@MORE
def test_other_plugins_go_on_as_they_do_without_faults(pytester: pytest.Pytester) -> None:
    options = ("-p", "randomly", "--randomly-seed=1", "-n", "2", "--cov=mymodel", "--cov-report=term-missing",
               "--junitxml=junit.xml", "--timeout=2", "--faultlab-fail-under=0.99")  # fmt: skip
    ran = faultlabbed(pytester, SUITE, *options, select=f"{FAULTS} process.hangs")
    assert (ran.status, ran.verdicts) == (1, {**VERDICTS, "process.hangs": "detected"}), ran.text
    (hangs,) = ran.cells("process.hangs").values()
    assert (hangs["kind"], "Timeout (>2.0s)" in hangs["message"]) == ("test", True)
    lines = textwrap.dedent(MODEL).strip().splitlines()
    # What faults alone make run, the check, is covered by no clean test.
    check, unused = (next(n for n, line in enumerate(lines, 1) if text in line) for text in ("raise", "return float"))
    assert re.search(rf"mymodel\.py +\d+ +2 +\d+% +{check}, {unused}\n", ran.text), ran.text
    ran.says("FAULTLAB FAILED: coverage 0.71 is below 0.99", "= 3 passed")
    assert "detects nothing" not in ran.text
    assert ran.tests["timing"]["jobs"] == 2
    # The first failure is enough, and the quickest test comes first.
    for row in ran.tests["faults"]:
        assert [cell["outcome"] for cell in row["cells"][:-1]] == ["passed"] * len(row["cells"][:-1])
    assert len(ran.cells("batch.extra-dimension")) == 1
    junit = ElementTree.parse(pytester.path / "junit.xml").getroot()
    suite = junit.find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "0",
        "errors": "0",
    }
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["faultlab.detected"] == "5"
    assert properties["faultlab.silent"] == "1"
    assert float(properties["faultlab.coverage"] or "") == pytest.approx(5 / 7)


@MORE
def test_another_order_of_the_tests_makes_no_other_verdicts(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("-p", "randomly", "--randomly-seed=2", "--faultlab-target=mymodel:LitModel", "-n", "auto")
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")
    ran = faultlabbed(pytester, SUITE, *options, select=FAULTS)
    assert (ran.status, ran.verdicts) == (0, VERDICTS), ran.text
    ran.says("targets: mymodel:LitModel")
    assert ran.tests["timing"]["jobs"] == 1


PLAIN = """
    def test_something():
        pass
"""
LOCAL = """
    from pytorch_lightning import LightningModule


    def test_something():
        class Local(LightningModule):
            def training_step(self, batch, index):
                return batch

        Local().training_step(1, 0)
"""
LIGHT = """
    import sys

    def pytest_sessionfinish():
        heavy = [name for name in sys.modules if name.partition(".")[0] in ("torch", "faultlab")]
        print("IMPORTED", sorted(heavy))
"""


def test_a_run_without_the_option_imports_nothing_that_it_would_not_import_anyway(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(LIGHT)
    ran = run(pytester, PLAIN, imports="command")
    assert ran.status == 0
    ran.says("IMPORTED ['faultlab', 'faultlab.pytest_plugin']")
    ran = run(pytester, PLAIN, "-p", "no:faultlab", imports="command")
    assert ran.status == 0
    ran.says("IMPORTED []")
    ran = run(pytester, PLAIN, "-p", "no:faultlab", "--faultlab")
    assert ran.status == 4
    ran.says("unrecognized arguments: --faultlab")


@pytest.mark.parametrize(
    ("suite", "options", "said"),
    [
        (PLAIN, "--faultlab --faultlab-select=loss.nann", "'loss.nan'"),
        pytest.param(PLAIN, "--faultlab --faultlab-jobs=-1", "expected at least one copy", marks=MORE),
        pytest.param(
            LOCAL, "--faultlab", "test_something.<locals>.Local are local to functions: define them", marks=MORE
        ),
        (PLAIN, "--faultlab", "there is nothing to break: no test builds a LightningModule"),
        pytest.param(
            SUITE, "--faultlab --faultlab-target=mymodel:Model", "The tests build mymodel.LitModel.", marks=MORE
        ),
        (PLAIN, "--faultlab-inject=loss.*", "family.kebab-name"),
    ],
    ids=["select", "jobs", "local class", "no module", "target", "inject"],
)
def test_wrong_usage_ends_with_status_4_and_what_to_write_instead(
    pytester: pytest.Pytester, suite: str, options: str, said: str
) -> None:
    ran = run(pytester, suite, *options.split())
    assert ran.status == 4, ran.text
    assert "INTERNALERROR" not in ran.text
    assert "Traceback" not in ran.text
    ran.says(said)


def test_one_fault_is_injected_into_a_plain_run(pytester: pytest.Pytester) -> None:
    options = ("--faultlab-inject=loss.nan@step=1", "--faultlab-learnt=learnt.json", "--faultlab-out=out", "-v")
    ran = run(pytester, SUITE, *options, "-p", "no:randomly")
    assert ran.status == 1
    ran.says(
        "test_suite.py::test_loss_is_finite FAILED",
        "test_suite.py::test_it_trains PASSED",
        "detected: 1 failure modes (1 by an assertion of the test)",
        "= 1 failed, 2 passed",
    )
    taught = (pytester.path / "learnt.json").read_text()
    (pytester.path / "learnt.json").write_text(taught.replace("mymodel.LitModel", "mymodel.Gone"))
    ran = run(pytester, SUITE, *options)
    assert ran.status == 0, "the file is read in place of the clean passes"
    ran.says("= 3 passed")

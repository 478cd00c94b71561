"""``pytest --faultlab`` from the collected session to its exit status."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from faultlab import engines
from faultlab.catalogue import index
from faultlab.config.fault_patterns import check_pattern, parse_fault
from faultlab.config.selection import Selection
from faultlab.core import atomic_write
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.kill_matrix import Matrix
from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Baseline, Report, dump
from faultlab.core.results import Outcome, SuiteRun
from faultlab.core.run_folder import REPORT_FILE, TESTS_FILE
from faultlab.core.version import __version__
from faultlab.errors import BaselineError, FaultlabError, UsageError
from faultlab.gate.demands import check
from faultlab.sandbox.overlay import Overlay
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.outcome import judge
from faultlab.testing.progress import to_terminal
from faultlab.testing.pytest_internals import junit_of
from faultlab.testing.report_replay import replay
from faultlab.testing.stash_keys import ALONE, PROCESSES, RESULT
from faultlab.testing.suite import Suite, SuiteOptions
from faultlab.testing.victims import Arming


def run_suite(session: pytest.Session) -> None:
    """Run the clean suite, whose reports are pytest's own, and then the faults; raise what pytest's own loop raises."""
    _check_copiable()
    config = session.config
    terminal = config.pluginmanager.getplugin("terminalreporter")
    try:
        suite = Suite(session, _asked(config), to_terminal(terminal, config.getoption("verbose") < 0))
        matrix = suite.run(lambda notes: replay(session, notes))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    except FaultlabError as error:
        config.stash[RESULT] = (Matrix(), None, [str(error)])
        session.testsfailed = max(1, session.testsfailed)
        return
    report = report_of(matrix, _versions())
    # Tests are left out only by an option.
    fail_under = config.getoption("faultlab_fail_under")
    report.demands = Demands(false_alarms=len(matrix.left_out), fail_under=fail_under)
    report.reasons = check(report)
    if not matrix.complete:
        text = "inconclusive: interrupted; the results so far are shown"
        report.reasons.insert(0, Reason(ReasonKind.INTERRUPTED, text))
    report.passed = not report.reasons
    config.stash[RESULT] = (matrix, report, texts(report.reasons))
    if not report.passed:
        session.testsfailed += 1
    _record_properties(config, matrix, report)
    if config.getoption("faultlab_out"):
        write(matrix, report, Path(config.getoption("faultlab_out")))
    if not matrix.complete:
        raise KeyboardInterrupt from None


def break_session(session: pytest.Session) -> None:
    """Run the clean passes in copies, and have pytest's own loop run every test with one fault armed."""
    _check_copiable()
    config = session.config
    learnt = config.getoption("faultlab_learnt")
    try:
        fault = parse_fault(config.getoption("faultlab_inject"))
        suite = Suite(session, replace(_asked(config), leave_out=True))
        if learnt and Path(learnt).is_file():
            suite.knowledge = _known(Path(learnt))
        else:
            suite.learn()
            if learnt:
                atomic_write.write(Path(learnt), dump(suite.knowledge.to_json()))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    except BaselineError as error:
        raise session.Interrupted(str(error)) from None
    # pytest itself runs in this process, and writes its own files where it always does.
    written = TemporaryDirectory(prefix="faultlab-", ignore_cleanup_errors=True)
    config.add_cleanup(written.cleanup)
    overlay = Overlay(lambda: written.name, [os.getcwd(), str(config.rootpath)])
    arming = Arming(fault, suite.knowledge, "", lambda step: None, overlay)
    outcome = Outcome(str(fault), [SuiteRun()])
    conductor = suite.conductor(arming)
    conductor.on_end = lambda ended: outcome.notes.append({"ended": asdict(ended), **arming.done(ended)})
    conductor.ends_session = True
    config.pluginmanager.register(conductor, "faultlab-conductor")
    config.stash[ALONE] = (suite, fault, outcome)


def conclude(session: pytest.Session, complete: bool) -> None:
    """Report the results of a session with one fault in it, unless it was interrupted."""
    if not complete:
        return
    config = session.config
    suite, fault, outcome = config.stash[ALONE]
    row = judge(outcome.id, index.modes()[fault.mode], [outcome], suite.knowledge.warnings)
    suite.matrix.rows, suite.matrix.whole, suite.matrix.complete = [row], True, True
    suite.matrix.tests = [cell.test for cell in row.cells]
    suite.matrix.timing = {"total": round(sum(cell.seconds for cell in row.cells), 3), "jobs": 1}
    report = report_of(suite.matrix, _versions())
    reasons = check(report, Demands(false_alarms=len(suite.matrix.left_out)))
    config.stash[RESULT] = (suite.matrix, report, texts(reasons))
    if config.getoption("faultlab_out"):
        write(suite.matrix, report, Path(config.getoption("faultlab_out")))


def report_of(matrix: Matrix, versions: dict[str, str]) -> Report:
    """Return the tests' verdicts as a report like a campaign's."""
    alarms = [Alert("test", test, 0, why) for test, why in matrix.left_out.items()]
    return Report(
        scenario="pytest",
        faultlab=__version__,
        versions=versions,
        baseline=Baseline(seconds=round(sum(matrix.seconds.values()), 3), seeds=[0], false_alarms=alarms),
        faults=[row.result for row in matrix.rows],
        timing=matrix.timing,
    )


def write(matrix: Matrix, report: Report, folder: Path) -> None:
    """Write report.json, tests.json and index.html."""
    from faultlab.report.html import document

    atomic_write.write(folder / REPORT_FILE, dump(report.to_json(), indent=1))
    atomic_write.write(folder / TESTS_FILE, dump(matrix.to_json(), indent=1))
    document.write_alone(report, folder / "index.html")


def _known(file: Path) -> Knowledge:
    try:
        return Knowledge.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{file}: not a file of --faultlab-learnt ({why}): remove it") from None


def _check_copiable() -> None:
    if not hasattr(os, "fork"):
        raise pytest.UsageError("--faultlab forks pytest's process, which this system can't: use Linux or macOS")
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.get_num_threads() > 1:
        raise pytest.UsageError(
            f"torch was set to {torch.get_num_threads()} threads while the tests were collected: copies of a process "
            "that computed on several threads hang. Remove torch.set_num_threads() from the code that tests import."
        )
    torch.set_num_threads(1)


def _asked(config: pytest.Config) -> SuiteOptions:
    option = config.getoption
    selected, ignored = tuple(option("faultlab_select")) or ("*",), tuple(option("faultlab_ignore"))
    for pattern, whole in [*((one, True) for one in selected), *((one, False) for one in ignored)]:
        if (wrong := check_pattern(pattern, whole_faults=whole)) is not None:
            raise UsageError(". ".join(filter(None, wrong)))
    if (option("faultlab_jobs") or 1) < 1:
        raise UsageError(f"invalid --faultlab-jobs {option('faultlab_jobs')}: expected at least one copy")
    asked = option("faultlab_jobs")
    jobs = engines.checked_jobs(asked) if asked else config.stash.get(PROCESSES, None) or engines.cores()
    return SuiteOptions(
        selection=Selection(select=selected, skip=ignored),
        targets=tuple(option("faultlab_target")),
        jobs=jobs,
        matrix=option("faultlab_matrix"),
        settled=frozenset(parse_fault(fault).at_any_time() for fault in option("faultlab_settled")),
        leave_out=option("faultlab_leave_out"),
        timeout=option("faultlab_timeout"),
    )


def _record_properties(config: pytest.Config, matrix: Matrix, report: Report) -> None:
    """Add the outcome to the properties of pytest's own junit file, if it writes one."""
    xml = junit_of(config)
    if xml is None:
        return
    counts = report.to_json()["coverage"]["modes"]
    xml.add_global_property("faultlab.coverage", report.ratio if report.ratio is not None else "")
    for status, count in counts.items():
        xml.add_global_property(f"faultlab.{status}", count)
    for test, count in matrix.kills().items():
        xml.add_global_property(f"faultlab.kills[{test}]", count)


def _versions() -> dict[str, str]:
    import torch

    from faultlab.frameworks.registry import default_framework

    of_framework = default_framework().foreign.versions()
    return {"torch": str(torch.__version__), "python": platform.python_version(), **of_framework}

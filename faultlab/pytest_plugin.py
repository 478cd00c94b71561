"""``pytest --faultlab``: says for every failure mode which of the user's own tests notice it.

Light: nothing is imported before it is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from faultlab.results import Report
    from faultlab.testing.outcome import Matrix


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
RESULT: pytest.StashKey[tuple[Matrix, Report | None, list[str]]] = pytest.StashKey()
PROCESSES: pytest.StashKey[int] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faultlab", "faultlab: which failure modes do these tests notice?")
    add = group.addoption
    add("--faultlab", action="store_true", help="break the code, one failure mode at a time, and say who notices")
    add("--faultlab-target", action="append", default=[], metavar="pkg.mod:Class", help="the module to break")
    add("--faultlab-select", action="append", default=[], metavar="GLOB", help="failure modes or whole faults")
    add("--faultlab-ignore", action="append", default=[], metavar="GLOB", help="failure modes to leave out")
    add("--faultlab-matrix", action="store_true", help="run every test that a fault reaches, not only until one fails")
    add("--faultlab-jobs", type=int, default=None, metavar="N", help="copies at a time (default: the cores)")
    add("--faultlab-leave-out", action="store_true", help="go on without tests that fail or are flaky on clean code")
    add("--faultlab-timeout", type=float, default=None, metavar="SECONDS", help="what the tests of a fault may take")
    add("--faultlab-fail-under", type=float, default=None, metavar="RATIO", help="fail below this coverage")
    add("--faultlab-out", default=None, metavar="DIR", help="also write report.json, tests.json and index.html here")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "detects(mode, by=None, within=None): the test passes only if the failure mode, injected into it, is noticed "
        "(by this guard, within so many training steps).",
    )
    if config.getoption("faultlab"):
        _take_over_from_xdist(config.option, config.stash)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if early_config.known_args_namespace.faultlab:
        _take_over_from_xdist(early_config.known_args_namespace, early_config.stash)
        # Before torch's first operation: a fork after one on several threads hangs in the child.
        os.environ.update(dict.fromkeys(_THREADS, "1"))


def _take_over_from_xdist(option: Any, stash: pytest.Stash) -> None:
    """``-n 2`` is two copies at a time: the tests are collected once, by a process that can be copied."""
    processes = getattr(option, "numprocesses", None)
    if processes:
        stash[PROCESSES] = processes
        option.numprocesses, option.dist, option.tx = None, "no", []


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not config.getoption("faultlab"):
        return []
    from faultlab import __version__, index

    targets = ", ".join(config.getoption("faultlab_target")) or "found by running the tests"
    return [f"faultlab {__version__}: {len(index.modes())} failure modes, targets: {targets}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    if not session.config.getoption("faultlab") or session.config.option.collectonly:
        return None
    if session.testsfailed and not session.config.option.continue_on_collection_errors:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    from faultlab.testing.running import run_suite

    run_suite(session)
    return True


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    result = config.stash.get(RESULT, None)
    if result is not None:
        from faultlab.testing.summary import show

        show(terminalreporter, *result)

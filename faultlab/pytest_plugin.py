"""``pytest --faultlab``: says for every failure mode which of the user's own tests detect it.

Light: nothing is imported before it is asked for.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from faultlab.testing.injecting import Injection


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faultlab", "faultlab: which failure modes do these tests detect?")
    add = group.addoption
    add("--faultlab", action="store_true", help="break the code, one failure mode at a time, and say who detects")
    add("--faultlab-target", action="append", default=[], metavar="pkg.mod:Class", help="the module to break")
    add("--faultlab-select", action="append", default=[], metavar="GLOB", help="failure modes or whole faults")
    add("--faultlab-ignore", action="append", default=[], metavar="GLOB", help="failure modes to leave out")
    add("--faultlab-matrix", action="store_true", help="run every test that a fault reaches, not only until one fails")
    add("--faultlab-jobs", type=int, default=None, metavar="N", help="copies at a time (default: the cores)")
    add("--faultlab-leave-out", action="store_true", help="go on without tests that fail or are flaky on clean code")
    add("--faultlab-timeout", type=float, default=None, metavar="SECONDS", help="what the tests of a fault may take")
    add("--faultlab-fail-under", type=float, default=None, metavar="RATIO", help="fail below this coverage")
    add("--faultlab-inject", default=None, metavar="FAULT", help="run the tests with this one fault in the code")
    add("--faultlab-learnt", default=None, metavar="FILE", help="where --faultlab-inject keeps what clean runs taught")
    # For scenarios: whose guards have detected it.
    add("--faultlab-settled", action="append", default=[], metavar="FAULT", help=argparse.SUPPRESS)
    # For `faultlab mutate`, which has written what they name.
    add("--faultlab-mutants", default=None, metavar="FILE", help=argparse.SUPPRESS)
    add("--faultlab-mutant", default=None, metavar="NAME", help=argparse.SUPPRESS)
    add("--faultlab-killer", default=None, metavar="FILE", help=argparse.SUPPRESS)
    add("--faultlab-out", default=None, metavar="DIR", help="also write report.json, tests.json and index.html here")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "detects(mode, by=None, within=None): the test passes only if the failure mode, injected into it, is detected "
        "(by this guard, within so many training steps).",
    )
    if _is_asked(config.option) or config.option.faultlab_mutant:
        _take_over_from_xdist(config.option, config.stash)
    if config.option.faultlab_mutants or config.option.faultlab_mutant:
        _settle_randomly(config.option)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    option = early_config.known_args_namespace
    if _is_asked(option) or option.faultlab_mutant:
        _take_over_from_xdist(option, early_config.stash)
        # Before torch's first operation: a fork after one on several threads hangs in the child.
        from faultlab.core import threads

        os.environ.update(dict.fromkeys(threads.VARIABLES, "1"))
    if option.faultlab_mutants or option.faultlab_mutant:
        # Before any mutated file is imported.
        _switch_mutants(option, early_config)


def _is_asked(option: Any) -> bool:
    return bool(option.faultlab or option.faultlab_inject or option.faultlab_mutants)


def _switch_mutants(option: Any, config: pytest.Config) -> None:
    from pathlib import Path

    from faultlab.engines import processes
    from faultlab.injection import mutant_activation

    # Whoever started this alone reads what it finds.
    processes.die_with_parent()
    # What mutants leave uncovered fails no suite.
    option.no_cov = True
    if option.faultlab_mutants:
        from faultlab.testing.stash_keys import EXECUTIONS

        config.stash[EXECUTIONS] = mutant_activation.Executions(Path(f"{option.faultlab_mutants}.ran"))
        mutant_activation.install(config.stash[EXECUTIONS])
        mutant_activation.switch_to(mutant_activation.STATS)
        return
    from faultlab.testing.single_mutant import Killer

    mutant_activation.install()
    mutant_activation.switch_to(option.faultlab_mutant)
    config.pluginmanager.register(Killer(Path(option.faultlab_killer)), "faultlab-killer")


def _take_over_from_xdist(option: Any, stash: pytest.Stash) -> None:
    """``-n 2`` is two copies at a time: the tests are collected once, by a process that can be copied."""
    processes = getattr(option, "numprocesses", None)
    if processes:
        from faultlab.testing.stash_keys import PROCESSES

        stash[PROCESSES] = processes
    if processes or getattr(option, "dist", "no") != "no":
        option.numprocesses, option.dist, option.tx = None, "no", []


def _settle_randomly(option: Any) -> None:
    """Has pytest-randomly put tests into one order in every process, with one seed: else verdicts are by chance."""
    if getattr(option, "randomly_seed", 0) in ("default", "last"):
        option.randomly_seed = 0


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not _is_asked(config.option) or config.option.faultlab_mutants:
        return []
    from faultlab.catalogue import index
    from faultlab.core.version import __version__

    targets = ", ".join(config.getoption("faultlab_target")) or "found by running the tests"
    return [f"faultlab {__version__}: {len(index.modes())} failure modes, targets: {targets}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    if not _is_asked(session.config.option) or session.config.option.collectonly or not session.items:
        return None
    if session.testsfailed and not session.config.option.continue_on_collection_errors:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    if session.config.getoption("faultlab_mutants"):
        from faultlab.testing import mutating
        from faultlab.testing.stash_keys import EXECUTIONS

        mutating.run(session, session.config.getoption("faultlab_mutants"), session.config.stash[EXECUTIONS])
        return True
    from faultlab.testing import running

    if session.config.getoption("faultlab_inject"):
        running.break_session(session)
        return None
    running.run_suite(session)
    return True


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if (keys := _stash_keys()) is not None and keys.ALONE in session.config.stash:
        from faultlab.testing.running import conclude

        conclude(session, complete=exitstatus != pytest.ExitCode.INTERRUPTED)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("detects") and type(item) is not pytest.Function:
        pytest.fail("the mark `detects` is for test functions; here, use faultlab.assert_detected", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    marks = list(pyfuncitem.iter_markers("detects"))
    if not marks:
        return (yield)
    if len(marks) > 1:
        raise pytest.UsageError("a test detects one failure mode; for more, parametrize it and use assert_detected")
    from faultlab.testing.injecting import assert_detected

    detecting, result = assert_detected(*marks[0].args, **marks[0].kwargs), None
    detecting.folders += [str(pyfuncitem.path.parent), str(pyfuncitem.config.rootpath)]
    with detecting:
        result = yield
    return result


@pytest.fixture
def inject() -> Callable[..., Injection]:
    """``with inject("loss.nan"):`` has the module that the block trains suffer that fault; see faultlab.inject."""
    from faultlab.testing.injecting import inject

    return inject


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    keys = _stash_keys()
    result = config.stash.get(keys.RESULT, None) if keys is not None else None
    if result is not None:
        from faultlab.testing.terminal_summary import show

        show(terminalreporter, *result)


def _stash_keys() -> Any:
    """The module of the stash's keys; None where nothing has been kept under any of them yet."""
    return sys.modules.get("faultlab.testing.stash_keys")

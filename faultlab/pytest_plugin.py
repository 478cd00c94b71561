"""``pytest --faultlab``: reports for every failure mode which of the user's own tests detect it.

It imports nothing before an option needs it.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from faultlab.testing.injecting import Injection


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faultlab", "faultlab: which failure modes do these tests detect?")
    add = group.addoption
    add("--faultlab", action="store_true", help="Break the code, one failure mode at a time, and report who detects.")
    add(
        "--faultlab-target",
        action="append",
        default=[],
        metavar="pkg.mod:Class",
        help="Break this class of modules. Repeatable; by default those that the tests build or train.",
    )
    add(
        "--faultlab-select",
        action="append",
        default=[],
        metavar="GLOB",
        help="Inject these failure modes, or whole faults. Repeatable; by default all.",
    )
    add("--faultlab-ignore", action="append", default=[], metavar="GLOB", help="Leave out these failure modes.")
    add(
        "--faultlab-matrix",
        action="store_true",
        help="Run every test that a fault reaches, instead of stopping at the first that fails.",
    )
    add(
        "--faultlab-jobs",
        type=int,
        default=None,
        metavar="N",
        help="Run this many copies at a time. By default one for each core.",
    )
    add("--faultlab-leave-out", action="store_true", help="Leave out tests that fail or are flaky on the clean code.")
    add(
        "--faultlab-timeout",
        type=float,
        default=None,
        metavar="SECONDS",
        help="Deadline of the tests of one fault. By default it is measured.",
    )
    add(
        "--faultlab-fail-under",
        type=float,
        default=None,
        metavar="RATIO",
        help="Fail if coverage is below this ratio.",
    )
    add("--faultlab-inject", default=None, metavar="FAULT", help="Run the tests with this one fault in the code.")
    add(
        "--faultlab-learnt",
        default=None,
        metavar="FILE",
        help="Keep what --faultlab-inject learns from its clean runs in this file.",
    )
    # For scenarios, whose guards have detected the fault.
    add("--faultlab-settled", action="append", default=[], metavar="FAULT", help=argparse.SUPPRESS)
    # For commands whose options must not be mixed with those of an ini file.
    add("--faultlab-no-ini", action="store_true", help=argparse.SUPPRESS)
    # For `faultlab mutate`, which has written the files that they name.
    add("--faultlab-mutants", default=None, metavar="FILE", help=argparse.SUPPRESS)
    add("--faultlab-mutant", default=None, metavar="NAME", help=argparse.SUPPRESS)
    add("--faultlab-killer", default=None, metavar="FILE", help=argparse.SUPPRESS)
    add(
        "--faultlab-out",
        default=None,
        metavar="DIR",
        help="Write report.json, tests.json and index.html to this folder.",
    )
    for name, (kind, _) in _INI.items():
        option = f"--{name.replace('_', '-')}"
        parser.addini(name, f"Default of {option}.", type=kind, default=_UNSET[kind])


_Kind = Literal["args", "bool", "string"]
_UNSET: dict[_Kind, Any] = {"args": [], "bool": False, "string": ""}
_INI: dict[str, tuple[_Kind, Callable[[Any], Any]]] = {
    "faultlab_target": ("args", list),
    "faultlab_select": ("args", list),
    "faultlab_ignore": ("args", list),
    "faultlab_matrix": ("bool", bool),
    "faultlab_jobs": ("string", int),
    "faultlab_leave_out": ("bool", bool),
    "faultlab_timeout": ("string", float),
    "faultlab_fail_under": ("string", float),
    "faultlab_out": ("string", str),
}
_EXPECTED: dict[Any, str] = {int: "a whole number", float: "a number"}


def _complete_from_ini(config: pytest.Config) -> None:
    """Set the options that the command line does not give to those of pytest's ini file."""
    for name, (kind, convert) in _INI.items():
        given = config.getini(name)
        if given == _UNSET[kind] or getattr(config.option, name) not in (None, [], False):
            continue
        try:
            value = convert(given)
        except ValueError:
            raise pytest.UsageError(
                f"{config.inipath}: invalid {name} {given!r}: expected {_EXPECTED[convert]}"
            ) from None
        if name == "faultlab_out" and config.inipath is not None:
            value = str(config.inipath.parent / value)
        setattr(config.option, name, value)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "detects(mode, by=None, within=None): inject the failure mode into the test, which passes only if it is "
        "detected (by this guard, within this number of training steps).",
    )
    if (config.option.faultlab or config.option.faultlab_inject) and not config.option.faultlab_no_ini:
        _complete_from_ini(config)
    if _is_asked(config.option) or config.option.faultlab_mutant:
        _take_over_from_xdist(config.option, config.stash)
    if config.option.faultlab_mutants or config.option.faultlab_mutant:
        _settle_randomly(config.option)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    option = early_config.known_args_namespace
    if _is_asked(option) or option.faultlab_mutant:
        _take_over_from_xdist(option, early_config.stash)
        # Before torch's first operation: once torch has computed on several threads, a forked child hangs.
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

    # Nothing but the process that started this one reads its results.
    processes.die_with_parent()
    # A suite does not fail for lines that mutants leave uncovered.
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
    """Take ``-n 2`` as two copies at a time: one process, which can be copied, collects the tests."""
    processes = getattr(option, "numprocesses", None)
    if processes:
        from faultlab.testing.stash_keys import PROCESSES

        stash[PROCESSES] = processes
    if processes or getattr(option, "dist", "no") != "no":
        option.numprocesses, option.dist, option.tx = None, "no", []


def _settle_randomly(option: Any) -> None:
    """Have pytest-randomly use one order and one seed in every process: otherwise verdicts depend on chance."""
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
        pytest.fail("the mark `detects` is for test functions: use faultlab.assert_detected here", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    marks = list(pyfuncitem.iter_markers("detects"))
    if not marks:
        return (yield)
    if len(marks) > 1:
        raise pytest.UsageError(
            "a test has one mark `detects`: for more failure modes, parametrize it and use faultlab.assert_detected"
        )
    from faultlab.testing.detecting import assert_detected

    detecting, result = assert_detected(*marks[0].args, **marks[0].kwargs), None
    detecting.folders += [str(pyfuncitem.path.parent), str(pyfuncitem.config.rootpath)]
    with detecting:
        result = yield
    return result


@pytest.fixture
def inject() -> Callable[..., Injection]:
    """`faultlab.inject`: in ``with inject("loss.nan"):`` the module that the block trains has that fault."""
    from faultlab.testing.injecting import inject

    return inject


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    keys = _stash_keys()
    result = config.stash.get(keys.RESULT, None) if keys is not None else None
    if result is not None:
        from faultlab.testing.terminal_summary import show

        show(terminalreporter, *result)


def _stash_keys() -> Any:
    """Return the module of the stash's keys; None if it was not imported, since then nothing is in the stash."""
    return sys.modules.get("faultlab.testing.stash_keys")

"""Runs collected tests in a forked copy of pytest's process, each as a unit, and says how each ended.

A unit is one test, or one fixture of a wider scope, which is set up within the first test that needs it.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import faulthandler
import gc
import inspect
import sys
import time
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faultlab.detectors.warnings_shown import normalised
from faultlab.frameworks.registry import default_framework
from faultlab.testing import pytest_internals, randomness
from faultlab.testing.failures import Suspects, told, why
from faultlab.testing.report_replay import warning_to_json

Scope = Callable[[str], AbstractContextManager[Any]]


@dataclass
class Ended:
    """How one test ended. ``kind`` and ``message`` say why it failed; ``outcome`` is passed, failed or skipped."""

    test: str
    outcome: str = "passed"
    kind: str = ""
    message: str = ""
    seconds: float = 0.0
    fixtures: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Conductor:
    """Enters ``scope(unit)`` around each unit, which always begins with the same random numbers, and notes its end.

    A plugin for pytest's own loop, or for `run`, which is one.
    """

    def __init__(self, suspects: Suspects, scope: Scope, rng: Any, root: str = "") -> None:
        self.on_report: Callable[[Any], None] = lambda report: None
        self.on_warning: Callable[[dict[str, Any]], None] = lambda warning: None
        self.on_begin: Callable[[Ended], None] = lambda ended: None
        self.on_end: Callable[[Ended], None] = lambda ended: None
        self.ends_session = False
        self._suspects = suspects
        self._scope = scope
        self._rng = rng
        self._root = root
        self._ended = Ended("")
        self._calling = False

    def run(
        self,
        session: pytest.Session,
        items: Sequence[pytest.Item],
        enough: Callable[[Ended], bool] = lambda ended: False,
    ) -> None:
        """Runs the tests in this order, until one ends in a way that is ``enough``."""
        plugins = session.config.pluginmanager
        plugins.register(self, "faultlab-conductor")
        try:
            for index, item in enumerate(items):
                following = items[index + 1] if index + 1 < len(items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._ended.kind == "process" or enough(self._ended):
                    return
        finally:
            plugins.unregister(self)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._ended = Ended(item.nodeid)
        self.on_begin(self._ended)
        try:
            with self._scope(item.nodeid):
                randomness.restore(self._rng)
                return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            # These end the whole session.
            self._ended.outcome, self._ended.kind, self._ended.message = "failed", "process", told(error)
            if self.ends_session:
                raise
            return True
        finally:
            self.on_end(self._ended)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        before, name = randomness.snapshot(), fixture_name(fixturedef, pytest_internals.item_of(request))
        started = time.perf_counter()
        with self._scope(name):
            randomness.restore(self._rng)
            try:
                return (yield)
            finally:
                self._ended.fixtures[name] = time.perf_counter() - started
                # So that the test begins the same whether or not it is the first to need the fixture.
                randomness.restore(before)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        self._calling = True
        try:
            return (yield)
        finally:
            self._calling = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        report = yield
        # What is reported while the test is called is a part of it, a subtest: one that fails fails the test, one
        # that is skipped leaves the others to detect something.
        part = self._calling
        if report.failed and self._ended.outcome != "failed":
            self._ended.outcome = "failed"
            error = call.excinfo.value if call.excinfo is not None else None
            self._ended.kind = why(error, self._suspects) if error is not None else "test"
            self._ended.message = told(error) if error is not None else str(report.longrepr)
        elif report.skipped and not part and call.when != "teardown" and self._ended.outcome == "passed":
            self._ended.outcome = "skipped"
        if not part:
            # The test's own duration has its subtests' within it.
            self._ended.seconds += report.duration
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.on_report(report)

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        if nodeid == self._ended.test:
            self.on_warning(warning_to_json(warning_message, nodeid, location))
            text = f"{warning_message.category.__name__}: {warning_message.message}"
            # Every copy writes to another folder.
            text = normalised(text.replace(self._root, "<run>") if self._root else text)[:300]
            if text not in self._ended.warnings:
                self._ended.warnings.append(text)


def fixture_name(fixturedef: Any, item: pytest.Item) -> str:
    """A name for the fixture of a wider scope than a test's that this test gets."""
    # The test's own id, cut off at the scope: every test that shares the fixture has the same there.
    file, _, rest = item.nodeid.partition("::")
    within = {"class": f"{file}::{rest.rpartition('::')[0]}", "module": file}.get(fixturedef.scope, fixturedef.baseid)
    callspec = getattr(item, "callspec", None)
    parameter = callspec.indices.get(fixturedef.argname, 0) if callspec is not None else 0
    return f"{fixturedef.scope} fixture {within}::{fixturedef.argname}[{parameter}]"


def fixtures_of(item: pytest.Item) -> list[str]:
    """The fixtures of wider scopes that a test asks for, and those that these ask for."""
    found = [fixturedef for same_name in pytest_internals.definitions_of(item).values() for fixturedef in same_name]
    return [fixture_name(fixturedef, item) for fixturedef in found if fixturedef.scope != "function"]


def settle() -> None:
    """Makes pytest's own process one whose copies share what it holds by now, and needn't learn it again each."""
    # Whoever asks for the stack, as is done where a checkpoint is loaded, has Python learn every module's file
    # and go through all of them again for each frame that is in none, as are the first two of `python -m pytest`.
    inspect.modulesbyfile.setdefault("<frozen runpy>", "runpy")
    inspect.getmodule(sys._getframe(), "<nowhere>")
    inspect.stack()
    default_framework().warm_up()
    # A copy that collects garbage would touch all that is here, and so copy it.
    gc.collect()
    gc.freeze()


def prepare_process(session: pytest.Session) -> None:
    """Makes a forked copy of pytest's process one that tests can be run in, and copied for every fault."""
    pytest_internals.stop_capturing(session)
    default_framework().find_plugins_once()
    gc.freeze()


def become_victim(session: pytest.Session, folder: str) -> None:
    """In a copy: captures anew, into files of its own, and gives the tests temporary folders below ``folder``."""
    if faulthandler.is_enabled():
        # pytest has it write to the terminal, where a victim's crash is no news.
        faulthandler.enable(2)
    plugins = session.config.pluginmanager
    if plugins.has_plugin("pdbinvoke"):
        # Nobody sits at a copy to debug it: the end of the input would end the process.
        plugins.unregister(name="pdbinvoke")
    pytest_internals.capture_anew(session)
    pytest_internals.move_temporary_folders(session, Path(folder) / "tmp")


def end_coverage(keep: bool) -> None:
    """Ends a measurement of coverage in this copy; what a fault's run covers is nothing that anybody asked for."""
    coverage = sys.modules.get("coverage")
    current = coverage.Coverage.current() if coverage is not None else None
    if current is not None:
        current.stop()
        if keep:
            # By the side of the process's own, which are combined when it ends.
            current.save()


def imported_since(known: Set[str]) -> dict[str, str]:
    """The modules that have been imported since these were, with their files."""
    return {name: str(getattr(sys.modules[name], "__file__", None) or "") for name in sorted(set(sys.modules) - known)}

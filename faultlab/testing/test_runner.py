"""A runner of collected tests in a forked copy of pytest's process, each as a unit, which reports how each ended.

A unit is a test, or a fixture of a wider scope, which is set up within the first test that needs it.
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
from faultlab.injection import hooks
from faultlab.testing import pytest_internals, randomness
from faultlab.testing.failures import Suspects, told, why
from faultlab.testing.report_replay import warning_to_json

Scope = Callable[[str], AbstractContextManager[Any]]


@dataclass
class Ended:
    """The end of one test. ``outcome`` is passed, failed or skipped; ``kind`` and ``message`` describe a failure."""

    test: str
    outcome: str = "passed"
    kind: str = ""
    message: str = ""
    seconds: float = 0.0
    fixtures: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Conductor:
    """A plugin that enters ``scope(unit)`` around each unit, restores the random state first, and records its end.

    It works in pytest's own loop and in `run`.
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
        """Run the tests in this order, until ``enough`` accepts how one ended."""
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
                # The test begins the same whether or not it is the first to need the fixture.
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
        # A report during the call is a subtest's: if it fails, the test fails; if it is skipped, the others may still
        # detect something.
        part = self._calling
        if report.failed and self._ended.outcome != "failed":
            self._ended.outcome = "failed"
            error = call.excinfo.value if call.excinfo is not None else None
            self._ended.kind = why(error, self._suspects) if error is not None else "test"
            self._ended.message = told(error) if error is not None else str(report.longrepr)
        elif report.skipped and not part and call.when != "teardown" and self._ended.outcome == "passed":
            self._ended.outcome = "skipped"
        if not part:
            # The test's duration includes its subtests'.
            self._ended.seconds += report.duration
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.on_report(report)

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        if nodeid == self._ended.test:
            self.on_warning(warning_to_json(warning_message, nodeid, location))
            text = f"{warning_message.category.__name__}: {warning_message.message}"
            # Each copy writes to a different folder.
            text = normalised(text.replace(self._root, "<run>") if self._root else text)[:300]
            if text not in self._ended.warnings:
                self._ended.warnings.append(text)


def fixture_name(fixturedef: Any, item: pytest.Item) -> str:
    """Return a name for a fixture of wider scope, as this test gets it."""
    # The test's id up to the scope, which is the same for every test that shares the fixture.
    file, _, rest = item.nodeid.partition("::")
    within = {"class": f"{file}::{rest.rpartition('::')[0]}", "module": file}.get(fixturedef.scope, fixturedef.baseid)
    callspec = getattr(item, "callspec", None)
    parameter = callspec.indices.get(fixturedef.argname, 0) if callspec is not None else 0
    return f"{fixturedef.scope} fixture {within}::{fixturedef.argname}[{parameter}]"


def fixtures_of(item: pytest.Item) -> list[str]:
    """Return the fixtures of wider scopes that a test requests, directly or through others."""
    found = [fixturedef for same_name in pytest_internals.definitions_of(item).values() for fixturedef in same_name]
    return [fixture_name(fixturedef, item) for fixturedef in found if fixturedef.scope != "function"]


def settle() -> None:
    """Prepare pytest's own process so that its copies share its memory and its caches."""
    # To inspect the stack, as loading a checkpoint does, Python collects every module's file, and collects them again
    # for each frame without a module, such as the first two of `python -m pytest`.
    inspect.modulesbyfile.setdefault("<frozen runpy>", "runpy")
    inspect.getmodule(sys._getframe(), "<nowhere>")
    inspect.stack()
    default_framework().warm_up()
    # Garbage collection in a copy would touch, and so copy, all of this memory.
    gc.collect()
    gc.freeze()


def prepare_process(session: pytest.Session) -> None:
    """Prepare a forked copy of pytest's process to run tests, and to be copied for each fault."""
    pytest_internals.stop_capturing(session)
    default_framework().find_plugins_once()
    # To find out which injection points a training has, each copy needs them.
    hooks.load(default_framework().name)
    gc.freeze()


def become_victim(session: pytest.Session, folder: str) -> None:
    """Capture output into files of this copy's own, and have tests create temporary folders below ``folder``."""
    if faulthandler.is_enabled():
        # pytest has it write to the terminal, where a victim's crash is not of interest.
        faulthandler.enable(2)
    plugins = session.config.pluginmanager
    if plugins.has_plugin("pdbinvoke"):
        # A copy has no terminal to debug it from, and the end of its input would end the process.
        plugins.unregister(name="pdbinvoke")
    pytest_internals.capture_anew(session)
    pytest_internals.move_temporary_folders(session, Path(folder) / "tmp")


def end_coverage(keep: bool) -> None:
    """End a measurement of coverage in this copy, and keep its result only if ``keep`` is set."""
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

"""A collected suite under each source mutant: clean passes, then a forked copy for every mutant.

It runs in pytest's own process, which has collected the mutated tree with all mutants off. Results go to a file, one
line each, so that the process that started pytest can follow them, and keeps them if it is interrupted.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign.clean_runs import DEADLINE, order
from faultlab.core import packages
from faultlab.core.exit_status import in_words
from faultlab.core.messages import encode
from faultlab.core.orders import Order, RunMutated
from faultlab.core.results import Outcome, SuiteRun, message_of
from faultlab.core.user_code import UserCode
from faultlab.engines.fork_self import CollectedEngine, Send
from faultlab.injection.mutant_activation import AT_IMPORT, STATS, Executions, Ran, switch_to
from faultlab.mutants.mutant import mangled_of
from faultlab.sandbox import file_calls
from faultlab.testing import fixtures, isolated_cwd, randomness
from faultlab.testing.failures import Suspects
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.test_runner import (
    Conductor,
    become_victim,
    end_coverage,
    fixtures_of,
    imported_since,
    prepare_process,
    settle,
)

_FACTOR, _FLOOR = 4.0, 3.0
_FACTOR_ALONE, _FLOOR_ALONE = 10.0, 10.0
_HEAVY = ("torch", *packages.NAMESPACES)
_CLEAN = _FORWARDS, _BACKWARDS = "forwards", "backwards"


@dataclass(frozen=True)
class Task:
    """A task: mutants by name with their files, relative to ``tree``, and the ``report`` file to write results to.

    ``root`` is the folder of the user's own files.
    """

    mutants: Mapping[str, str]
    tree: str
    root: str
    report: str
    jobs: int = 1
    timeout: float | None = None

    @classmethod
    def read(cls, file: Path) -> Task:
        return cls(**json.loads(file.read_text(encoding="utf-8")))


@dataclass
class Tests:
    """The results of the clean passes.

    ``functions`` has for each (file, mangled name) the tests that run it, the quickest first. ``early`` are functions
    that run while tests are collected (``at_import``), or in one test that others depend on. ``modules`` has the
    module names of files, ``heavy`` other modules that take long to import, ``strays`` the files that were imported
    from the user's folder instead of the mutated tree. ``whole`` is the duration of all tests in s.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    whole: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)
    functions: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    early: set[tuple[str, str]] = field(default_factory=set)
    at_import: set[tuple[str, str]] = field(default_factory=set)
    modules: dict[str, str] = field(default_factory=dict)
    heavy: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": {test: round(seconds, 4) for test, seconds in self.seconds.items()},
            "whole": round(self.whole, 4),
            "left_out": self.left_out,
            "modules": self.modules,
            "heavy": self.heavy,
            "strays": self.strays,
            "early": sorted(f"{file}:{name}" for file, name in self.early),
            "functions": {f"{file}:{name}": tests for (file, name), tests in self.functions.items()},
        }


class MutatedSuite:
    """The judge of a task's mutants by the tests of a session."""

    def __init__(self, session: pytest.Session, task: Task, executions: Executions) -> None:
        self._session = session
        self._task = task
        self._executions = executions
        self._rng = randomness.seeded()
        self._items = {item.nodeid: item for item in session.items}
        self._knowledge = Knowledge()
        self._shared: list[str] = []
        self._engine = CollectedEngine(task.jobs, self._prepare, self._carry_out)
        self._tests = Tests()
        self._projects = os.listdir()

    def run(self) -> None:
        """Run the clean passes, then all mutants, then again, alone, those that did not finish in time."""
        try:
            self._tests = self._learn()
            self._say({"clean": self._tests.to_json()})
            if not self._tests.seconds:
                # Without tests there are no verdicts on mutants, not even that no test runs them.
                return
            self._shared = fixtures.shareable(self._knowledge, self._items.values())
            settle()
            self._engine.open("mutants", {})
            late = [order for order in self._judge(self._orders()) if order is not None]
            for one in late:
                # It may be late only because the machine is under load.
                for _ in self._judge([self._alone(one)], alone=True):
                    pass
        finally:
            self._engine.close()

    def _say(self, entry: Mapping[str, Any]) -> None:
        with open(self._task.report, "ab", buffering=0) as file:
            file.write(encode(entry))

    def _learn(self) -> Tests:
        settle()
        self._engine.open("clean", {})
        orders = [self._pass(_FORWARDS, list(self._items)), self._pass(_BACKWARDS, list(self._items)[::-1])]
        outcomes = {outcome.id: outcome for outcome in self._engine.run(orders)}
        for outcome in outcomes.values():
            if not isinstance(outcome.result, SuiteRun):
                raise session_ended(outcome)
        self._preload(outcomes[_BACKWARDS])
        tests, ran = (
            Tests(heavy=[module for module in _HEAVY if module in sys.modules]),
            Ran.read(self._executions.file),
        )
        reached = {place for places in ran.places.values() for place in places}
        forwards, backwards = _ended(outcomes[_FORWARDS]), _ended(outcomes[_BACKWARDS])
        for test in self._items:
            one, other = forwards[test], backwards[test]
            if "failed" in (one["outcome"], other["outcome"]):
                failed = one if one["outcome"] == "failed" else other
                flaky = (other if failed is one else one)["outcome"] != "failed"
                why = "flaky, or it needs another test before it" if flaky else "it fails on the clean code"
                tests.left_out[test] = f"{why}: {failed['message']}"
            elif other["outcome"] == "passed" or test in reached:
                # A test that is expected to fail (xfail) may pass under a mutant, which counts as a failure.
                tests.seconds[test] = other["seconds"] - sum(other["fixtures"].values())
        for ended in (*forwards.values(), *backwards.values()):
            for name, seconds in ended["fixtures"].items():
                self._knowledge.unit(name).seconds = seconds
        for test in self._items:
            unit = self._knowledge.unit(test)
            unit.seconds = tests.seconds.get(test, 0.0)
            resting = [*fixtures_of(self._items[test]), *forwards[test]["fixtures"], *backwards[test]["fixtures"]]
            unit.fixtures = [name for name in dict.fromkeys(resting) if name in self._knowledge.units]
        self._locate(tests, ran)
        tests.whole = self._knowledge.seconds(list(tests.seconds))
        return tests

    def _locate(self, tests: Tests, ran: Ran) -> None:
        """Record which tests run which functions, directly or in fixtures that they depend on."""
        tree = Path(self._task.tree).resolve()
        # Modules that were imported before recording began, such as a plugin's own package.
        early = {name: str(Path(file).resolve()) for name in list(sys.modules) if (file := _file_of(name))}
        mutated = {str(tree / file): file for file in self._task.mutants.values()}
        files: dict[str, str] = {}
        for module, file in [*ran.modules.items(), *early.items()]:
            if (name := mutated.get(file)) is not None:
                files[module] = name
                tests.modules.setdefault(name, module)
        theirs = {str(Path(self._task.root, file).resolve()): file for file in self._task.mutants.values()}
        own = {theirs[path] for path in early.values() if path in theirs}
        tests.strays = sorted(own - set(tests.modules))
        units: dict[str, set[tuple[str, str]]] = {}
        for function, places in ran.places.items():
            module, _, mangled = function.rpartition(".")
            for place in places if module in files else ():
                units.setdefault(place, set()).add((files[module], mangled))
                self._knowledge.unit(place).touches["mutants"] = [("train", 0, 0)]
            # The first test runs it, and later tests use the cached result.
            if module in files and ran.wavers(function, _CLEAN):
                tests.early.add((files[module], mangled))
        tests.at_import = units.pop(AT_IMPORT, set())
        tests.early |= tests.at_import
        quickest = sorted(tests.seconds, key=lambda test: self._knowledge.seconds([test]))
        for test in quickest:
            units_of_test = [test, *self._knowledge.units[test].fixtures]
            for key in {found for unit in units_of_test for found in units.get(unit, ())}:
                tests.functions.setdefault(key, []).append(test)

    def _pass(self, id: str, tests: list[str]) -> Order:
        return order(self._engine, id, RunMutated(tuple(tests), STATS), deadline=DEADLINE)

    def _orders(self) -> Iterable[Order]:
        found = []
        for name, file in self._task.mutants.items():
            function = (file, mangled_of(name))
            tests = self._tests.functions.get(function, [])
            # The function ran unmutated at import, so that a copy's verdict would not be that of a fresh process.
            if not tests or function in self._tests.at_import:
                self._say({"mutant": name, "outcome": "not_activated", "tests": 0})
                continue
            seconds = self._knowledge.seconds(tests)
            allowed = self._task.timeout or max(_FLOOR, _FACTOR * seconds)
            switch = f"{self._tests.modules[file]}.{name.rpartition('.')[2]}"
            task = RunMutated(tuple(tests), switch)
            found.append((seconds, order(self._engine, name, task, deadline=allowed)))
        # The longest first, so that no core is idle at the end.
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]

    def _alone(self, late: Order) -> Order:
        seconds = self._knowledge.seconds(_tests_of(late))
        allowed = self._task.timeout or max(_FLOOR_ALONE, _FACTOR_ALONE * seconds)
        return order(self._engine, f"{late.id} alone", late.task, deadline=allowed)

    def _judge(self, orders: Iterable[Order], alone: bool = False) -> Iterable[Order | None]:
        """Run the orders and report each outcome; yield an order if it did not finish in time, otherwise None."""
        waiting = {order.id: order for order in orders}
        for outcome in self._engine.run(list(waiting.values())):
            if outcome.timed_out and not alone:
                yield waiting[outcome.id]
                continue
            asked = len(_tests_of(waiting[outcome.id]))
            said = {"mutant": outcome.id.removesuffix(" alone"), "seconds": round(outcome.seconds, 4), "tests": asked}
            self._say({**said, **_verdict(outcome)})
            yield None

    def _preload(self, outcome: Outcome) -> None:
        """Import what the tests import, except mutated modules, so that later copies need not."""
        tree = Path(self._task.tree).resolve()
        assert isinstance(outcome.result, SuiteRun)
        for module, file in outcome.result.imported.items():
            if file and not Path(file).is_relative_to(tree):
                with suppress(Exception):
                    importlib.import_module(module)

    @property
    def _suspects(self) -> Suspects:
        files = {Path(item.path) for item in self._session.items}
        return Suspects(files, UserCode(frozenset(), (self._task.tree,)))

    def _prepare(self) -> None:
        prepare_process(self._session)
        switch_to("")
        fixtures.set_up(self._session, self._items.values(), self._shared, self._rng)

    def _carry_out(self, order: Order, send: Send) -> None:
        task = order.task
        assert isinstance(task, RunMutated)
        Path(order.root).mkdir(parents=True, exist_ok=True)
        become_victim(self._session, order.root)
        isolated_cwd.enter(Path(order.root) / "cwd", self._projects)
        end_coverage(keep=False)
        faulted = order.id not in _CLEAN
        self._executions.run = order.id
        known = set() if faulted else set(sys.modules)
        if faulted:
            # These failures are not shown, and formatting the source of every frame takes longer than most tests.
            self._session.config.option.tbstyle = "no"
        conductor = Conductor(self._suspects, self._executions.at, self._rng, order.root)
        conductor.on_begin = lambda ended: send({"note": {"begins": asdict(ended)}})
        conductor.on_end = lambda ended: send({"note": {"ended": asdict(ended)}})
        switch_to(task.switch)
        items = [self._items[name] for name in task.tests]
        # Copies that write beside the code, or to a fixed path, must not see each other's files.
        with file_calls.redirected(order.root, [self._task.tree, self._task.root]):
            conductor.run(self._session, items, lambda ended: faulted and ended.outcome == "failed")
        send(message_of(SuiteRun({} if faulted else imported_since(known))))
        shutil.rmtree(order.root, ignore_errors=True)


def run(session: pytest.Session, file: str, executions: Executions) -> None:
    """Run the task in the file with the collected session."""
    MutatedSuite(session, Task.read(Path(file)), executions).run()


def session_ended(outcome: Outcome) -> pytest.UsageError:
    """Return the error for clean tests that don't finish."""
    return pytest.UsageError(f"the tests {_how(outcome)} on the clean code\n{outcome.output[-2000:]}")


def _tests_of(order: Order) -> Sequence[str]:
    assert isinstance(order.task, RunMutated)
    return order.task.tests


def _verdict(outcome: Outcome) -> dict[str, Any]:
    failed = next((ended for ended in _ended(outcome).values() if ended["outcome"] == "failed"), None)
    if failed is not None:
        return {"outcome": "killed", "test": failed["test"], "kind": failed["kind"], "message": failed["message"]}
    if outcome.lost:
        return {"outcome": "lost", "message": outcome.lost}
    if outcome.result is not None:
        return {"outcome": "survived"}
    begun = [note["begins"]["test"] for note in outcome.notes if "begins" in note]
    how = "timeout" if outcome.timed_out else "crashed"
    return {"outcome": how, "test": begun[-1] if begun else "", "kind": "process", "message": _how(outcome)}


def _ended(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {note["ended"]["test"]: note["ended"] for note in outcome.notes if "ended" in note}


def _how(outcome: Outcome) -> str:
    if outcome.timed_out:
        return f"still running after {outcome.seconds:.0f} s"
    return f"the process {in_words(outcome.exit)}"


def _file_of(module: str) -> str:
    return str(getattr(sys.modules.get(module), "__file__", None) or "")

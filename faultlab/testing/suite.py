"""A collected suite as a detector: clean passes first, then a forked copy of the process for every fault.

This is the driver's side, in pytest's own process, which never runs a test itself.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign import plan
from faultlab.campaign.clean_runs import order
from faultlab.campaign.preparation import deadline
from faultlab.campaign.second_attempt import is_late, longer
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import FailureMode, matching
from faultlab.config.selection import Selection
from faultlab.core.fault import Fault
from faultlab.core.kill_matrix import Matrix, Row
from faultlab.core.orders import Order, RunTests
from faultlab.core.report import FaultResult, Status
from faultlab.core.results import Outcome
from faultlab.core.user_code import UserCode
from faultlab.engines.fork_self import CollectedEngine
from faultlab.errors import BaselineError, TargetError
from faultlab.injection import hooks, registry
from faultlab.testing import fixtures, randomness
from faultlab.testing.clean_passes import CleanPasses
from faultlab.testing.failures import Suspects
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.outcome import judge, remaining
from faultlab.testing.test_runner import Conductor, prepare_process, settle
from faultlab.testing.victims import FAULT, Arming, Victim


@dataclass(frozen=True)
class SuiteOptions:
    """The options of the command line. With ``leave_out`` unreliable tests are left out.

    ``settled`` are faults that others have detected: even for a ``matrix``, their tests run only until one fails.
    """

    selection: Selection = field(default_factory=Selection)
    targets: tuple[str, ...] = ()
    jobs: int = 1
    matrix: bool = False
    settled: frozenset[Fault] = frozenset()
    leave_out: bool = False
    timeout: float | None = None


class Suite:
    """A campaign of faults against the tests of a collected session."""

    def __init__(
        self, session: pytest.Session, asked: SuiteOptions, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.matrix = Matrix(whole=asked.matrix)
        self.knowledge = Knowledge()
        self._session = session
        self._asked = asked
        self._say = say
        self._rng = randomness.seeded()
        self._engine = CollectedEngine(asked.jobs, self._prepare, self._carry_out)
        self._clean = CleanPasses(session, self._engine, self.knowledge, asked.targets, asked.leave_out)
        self._shared: list[str] = []
        self._rows: dict[str, Row] = {}
        self._settled: set[Fault] = set()
        self._ids: dict[Fault, list[str]] = {}
        self._given: dict[str, Order] = {}

    def run(self, replay: Callable[[Sequence[Any]], None]) -> Matrix:
        """Run the clean passes, pass the plain one's notes to ``replay``, and run the faults.

        If the faults are interrupted, the matrix keeps its rows and is not ``complete``.

        Raises:
            BaselineError: The clean suite is not reliable.
            UsageError: There is nothing to break.
        """
        begun = time.perf_counter()
        try:
            self._learn(replay)
            measured = time.perf_counter()
            with suppress(KeyboardInterrupt):
                self._inject()
                self.matrix.complete = True
        except TargetError as error:
            raise BaselineError(str(error)) from None
        finally:
            self._engine.close()
        ended = time.perf_counter()
        self.matrix.timing = {
            "clean": round(measured - begun, 3),
            "faults": round(ended - measured, 3),
            "total": round(ended - begun, 3),
            "jobs": self._asked.jobs,
        }
        return self.matrix

    def learn(self) -> Knowledge:
        """Run only the clean passes; see `run`."""
        try:
            self._learn(lambda reports: None)
        except TargetError as error:
            raise BaselineError(str(error)) from None
        finally:
            self._engine.close()
        return self.knowledge

    def conductor(self, arming: Arming) -> Conductor:
        """Return a conductor for a fault in this process; ``knowledge`` must be complete, from `learn` or a file."""
        return Conductor(self._suspects, arming.scope, self._rng)

    def _learn(self, replay: Callable[[Sequence[Any]], None]) -> None:
        settle()
        self._clean.learn(replay)
        units, matrix = self.knowledge.units, self.matrix
        matrix.targets = list(self.knowledge.profiles)
        matrix.left_out = self._clean.left_out
        matrix.tests = self._clean.tests()
        matrix.seconds = {test: self.knowledge.seconds([test]) for test in matrix.tests}
        matrix.fixtures = {test: {name: units[name].seconds for name in units[test].fixtures} for test in matrix.tests}

    @property
    def _suspects(self) -> Suspects:
        config = self._session.config
        conftests = [file for plugin in config.pluginmanager.get_plugins() if (file := _conftest(plugin))]
        packages = frozenset(target.partition(".")[0] for target in self.knowledge.profiles)
        files = {*(Path(item.path) for item in self._session.items), *conftests}
        return Suspects(files, UserCode(packages, (str(config.rootpath),)))

    def _prepare(self) -> None:
        prepare_process(self._session)
        fixtures.set_up(self._session, self._clean.items, self._shared, self._rng)

    def _carry_out(self, order: Order, send: Callable[[dict[str, Any]], None]) -> None:
        Victim(self._session, self._suspects, self._rng, self.knowledge).carry_out(order, send)

    def _inject(self) -> None:
        modes = index.modes()
        # Imported here, so that the victims, which are copies of this process, need not.
        registry.load()
        for framework in {profile.framework for profile in self.knowledge.profiles.values()}:
            hooks.load(framework)
        self._shared = fixtures.shareable(self.knowledge, self._clean.items)
        settle()
        self._engine.open("faults", {})
        waiting: dict[Fault, list[str]] = {}
        exemptions = self._asked.selection.exemptions
        for fault in self._selected(modes):
            mode = modes[fault.mode]
            # A trigger half-way is a different step in each test, so that it is set later.
            named = fault if fault.trigger or mode.when != "always" else mode.complete(fault, 1)
            exemption = next((reason for glob, reason in exemptions if matching(glob, [fault.mode])), "")
            tests, unreached = self.knowledge.reached(mode, fault)
            if exemption or unreached is not None:
                status = Status.IGNORED if exemption and tests else Status.NOT_APPLICABLE
                reason = exemption if unreached is None else unreached.why
                result = FaultResult(str(named), mode.id, mode.family, mode.severity, status, reason)
                self._rows[result.id] = Row(result, untested=unreached is not None and unreached.untested)
            else:
                waiting[named] = self.knowledge.quickest_first(tests)
        self._say(f"{len(waiting)} faults for {len(self.matrix.tests)} tests")
        try:
            self._run_faults(waiting)
        finally:
            self.matrix.rows = sorted(self._rows.values(), key=lambda row: row.result.id)

    def _selected(self, modes: Mapping[str, FailureMode]) -> list[Fault]:
        """Return the selected faults, and faults of a callback once for each callback in any test."""
        profiles = [unit.profile for unit in self.knowledge.units.values() if unit.profile]
        found: dict[Fault, None] = {}
        for fault in plan.selected(self._asked.selection, modes):
            each = [one for profile in profiles for one in plan.each(fault, modes, profile) if one != fault]
            found.update(dict.fromkeys(each or [fault]))
        return list(found)

    def _run_faults(self, waiting: Mapping[Fault, Sequence[str]]) -> None:
        # The longest first, so that no core is idle at the end.
        longest = sorted(waiting, key=lambda fault: -self.knowledge.seconds(waiting[fault]))
        self._settled = {fault for fault in waiting if fault.at_any_time() in self._asked.settled}
        outcomes: dict[Fault, list[Outcome]] = {}
        self._run(longest, waiting, outcomes, self._settled if self._asked.matrix else set(waiting))
        if self._asked.matrix and self._settled:
            # The tests that detect nothing must have run under all faults.
            idle = set(self.matrix.idle())
            settled = sorted(self._settled, key=str)
            unseen = {fault: remaining(waiting[fault], _joined(outcomes[fault])) for fault in settled}
            left = {fault: [test for test in tests if test in idle] for fault, tests in unseen.items()}
            self._run([fault for fault in left if left[fault]], left, outcomes, set())

    def _run(
        self,
        faults: Sequence[Fault],
        waiting: Mapping[Fault, Sequence[str]],
        outcomes: dict[Fault, list[Outcome]],
        until_failure: Collection[Fault],
    ) -> None:
        """Run these faults' tests, some only until one fails, and judge each fault by all its ``outcomes``."""
        clean, done = self.knowledge.warnings, 0
        orders = [order for one in faults for order in self._orders(one, waiting[one], one in until_failure)]
        running = Counter(_fault_of(one) for one in orders)
        for one, outcome in self._in_time(orders):
            fault = _fault_of(one)
            found = outcomes.setdefault(fault, [])
            found.append(outcome)
            running[fault] -= 1
            left = remaining(_tests_of(one), outcome)
            # A process that began none of its tests would not begin any the next time.
            begun = any("begins" in note for note in outcome.notes)
            if begun and left and fault not in until_failure and not outcome.lost:
                self._engine.add(self._faulted(fault, left))
                running[fault] += 1
            if running[fault]:
                continue
            row = judge(str(fault), _mode_of(fault), self._sorted(found, fault), clean)
            row.settled = fault in self._settled
            self._rows[row.result.id] = row
            done += 1
            self._say(f"{done} of {len(faults)} faults")
        self.matrix.rows = list(self._rows.values())

    def _sorted(self, outcomes: Sequence[Outcome], fault: Fault) -> list[Outcome]:
        ids = self._ids[fault]
        return sorted(outcomes, key=lambda outcome: ids.index(outcome.id))

    def _orders(self, fault: Fault, tests: Sequence[str], until_failure: bool) -> list[Order]:
        # Each test that hangs takes a process and its whole deadline: they wait side by side.
        apart = _mode_of(fault).hangs and not until_failure
        return [self._faulted(fault, some, until_failure) for some in ([[one] for one in tests] if apart else [tests])]

    def _in_time(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Outcome]]:
        """Yield each order and its outcome; late orders run once more, alone.

        Orders may be added to the engine between two outcomes.
        """
        late: deque[Order] = deque()
        for outcome in self._engine.run(orders):
            one = self._given[outcome.id]
            if is_late(_mode_of(_fault_of(one)), outcome):
                late.append(one)
            else:
                yield one, outcome
        while late:
            one = late.popleft()
            for outcome in self._engine.run([longer(one, self._asked.timeout)]):
                given = self._given[outcome.id]
                # What was added runs for the first time.
                if given is not one and is_late(_mode_of(_fault_of(given)), outcome):
                    late.append(given)
                else:
                    yield given, outcome

    def _faulted(self, fault: Fault, tests: Sequence[str], until_failure: bool = False) -> Order:
        mode = _mode_of(fault)
        allowed = self._asked.timeout or deadline(mode, self.knowledge.seconds(tests))
        task = RunTests(tuple(tests), FAULT, fault, until_failure)
        ids = self._ids.setdefault(fault, [])
        id = f"{fault} {len(ids) + 1}" if ids else str(fault)
        ids.append(id)
        self._given[id] = order(self._engine, id, task, deadline=allowed, sleeps=mode.hangs)
        return self._given[id]


def _fault_of(order: Order) -> Fault:
    assert isinstance(order.task, RunTests)
    assert order.task.fault is not None
    return order.task.fault


def _tests_of(order: Order) -> Sequence[str]:
    assert isinstance(order.task, RunTests)
    return order.task.tests


def _mode_of(fault: Fault) -> FailureMode:
    return index.modes()[fault.mode]


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(outcomes[-1].id, notes=[note for outcome in outcomes for note in outcome.notes])


def _conftest(plugin: Any) -> Path | None:
    file = Path(getattr(plugin, "__file__", None) or "")
    return file if file.name == "conftest.py" else None

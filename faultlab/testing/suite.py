"""A collected suite as a detector: clean passes first, then a forked copy of the process for every fault.

The driver's side, in pytest's own process: it never runs a test itself.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faultlab import catalogue
from faultlab.catalogue import Registered
from faultlab.detectors.exceptions import UserCode
from faultlab.engines import TargetBrokenError
from faultlab.engines.collected import CollectedEngine
from faultlab.engines.protocol import Order, Outcome
from faultlab.errors import BaselineError, UsageError
from faultlab.fault import Fault
from faultlab.harness import plan
from faultlab.harness.plan import Selection
from faultlab.harness.preparation import DEADLINE, order
from faultlab.results import FaultResult, Status
from faultlab.seams import lightning
from faultlab.testing import fixtures, randomness
from faultlab.testing.conducting import Conductor, fixtures_of, prepare_process
from faultlab.testing.failures import Suspects
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.learning import Use
from faultlab.testing.outcome import Matrix, Row, judge, remaining
from faultlab.testing.victims import FAULT, LEARN, PLAIN, TOUCH, Arming, Victim

_DEADLINE_FACTOR = 10.0
_DEADLINE_FLOOR = 10.0
_HANG_FACTOR = 3.0
_HANG_FLOOR = 3.0


@dataclass(frozen=True)
class Asked:
    """What the command line asks for. ``leave_out`` goes on without the tests that can't be relied on."""

    selection: Selection = field(default_factory=Selection)
    targets: tuple[str, ...] = ()
    jobs: int = 1
    matrix: bool = False
    leave_out: bool = False
    timeout: float | None = None


class Suite:
    """Carries a campaign of faults out against the tests of a collected session."""

    def __init__(self, session: pytest.Session, asked: Asked, say: Callable[[str], None] = lambda text: None) -> None:
        self.matrix = Matrix(whole=asked.matrix)
        self.knowledge = Knowledge()
        self._session = session
        self._asked = asked
        self._say = say
        self._items = [item for item in session.items if takes_part(item)]
        folders = (str(session.config.rootpath),)
        files = {Path(item.path) for item in session.items}
        files |= {Path(file) for file in _conftests(session)}
        self._suspects = Suspects(files, UserCode(frozenset(), folders))
        self._rng = randomness.seeded()
        self._engine = CollectedEngine(asked.jobs, self._prepare, self._carry_out)
        self._shared: list[str] = []

    def run(self, replay: Callable[[Sequence[Any]], None]) -> Matrix:
        """The clean passes, whose plain one's notes are given to ``replay``, and then the faults.

        An interrupted run of the faults leaves the rows that it has, and a matrix that is not ``complete``. Raises
        BaselineError where the clean suite can't be relied on, UsageError where there is nothing to break.
        """
        begun = time.perf_counter()
        try:
            self._learn(replay)
            measured = time.perf_counter()
            with suppress(KeyboardInterrupt):
                self._inject()
                self.matrix.complete = True
        except TargetBrokenError as error:
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
        """The clean passes alone; see `run`."""
        try:
            self._learn(lambda reports: None)
        except TargetBrokenError as error:
            raise BaselineError(str(error)) from None
        finally:
            self._engine.close()
        return self.knowledge

    def conductor(self, arming: Arming) -> Conductor:
        """For a fault in this very process; what `learn` or an earlier run has taught has to be in ``knowledge``."""
        self._know_code()
        return Conductor(self._suspects, arming.scope, self._rng)

    def _learn(self, replay: Callable[[Sequence[Any]], None]) -> None:
        self._plain_and_learn(replay)
        try:
            self._aim()
        except UsageError:
            # Tests that fail are why there is nothing to break, if there are any.
            self._rely()
            raise
        self._touch()

    def _prepare(self) -> None:
        prepare_process(self._session)
        fixtures.set_up(self._session, self._items, self._shared, self._rng)

    def _carry_out(self, order: Order, send: Callable[[dict[str, Any]], None]) -> None:
        Victim(self._session, self._suspects, self._rng, self.knowledge).carry_out(order, send)

    def _pass(self, id: str, kind: str, items: Iterable[str]) -> Order:
        task = {"pass": kind, "items": list(items), "until_failure": False}
        return order(self._engine, id, 0, deadline=DEADLINE, tests=task)

    def _passes(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        outcomes = {outcome.id: outcome for outcome in self._engine.run(orders)}
        for outcome in outcomes.values():
            if outcome.result is None:
                how = f"goes on after {DEADLINE:.0f} s" if outcome.timed_out else f"ends with status {outcome.exit}"
                begun = [note["begins"]["test"] for note in outcome.notes if "begins" in note]
                within = f", in {begun[-1]}" if begun else ""
                raise BaselineError(f"the clean suite {how}{within}\n{outcome.output[-2000:]}")
            for module in outcome.result["imported"]:
                # Every later copy finds imported what the clean run imported on its way.
                with suppress(Exception):
                    importlib.import_module(module)
        return outcomes

    def _plain_and_learn(self, replay: Callable[[Sequence[Any]], None]) -> None:
        self._engine.open("clean", {})
        everything = [item.nodeid for item in self._session.items]
        mine = [item.nodeid for item in self._items]
        orders = [self._pass(PLAIN, PLAIN, everything), self._pass(LEARN, LEARN, mine)]
        if lightning.loaded():
            outcomes = self._passes(orders)
        else:
            # Tests that import Lightning only when they run: nothing can be watched before it is here.
            outcomes = self._passes(orders[:1])
            self._engine.open("imported", {})
            outcomes.update(self._passes(orders[1:]))
        replay(outcomes[PLAIN].notes)
        by_name = {item.nodeid: item for item in self._items}
        plain = _ended(outcomes[PLAIN])
        for test in mine:
            if plain[test]["outcome"] == "failed":
                self.matrix.left_out[test] = f"it fails on the clean code: {plain[test]['message']}"
            elif plain[test]["outcome"] == "passed":
                unit = self.knowledge.unit(test)
                unit.seconds = plain[test]["seconds"] - sum(plain[test]["fixtures"].values())
                unit.warnings = plain[test]["warnings"]
        for note in outcomes[LEARN].notes:
            if "uses" in note and (note["unit"] in self.knowledge.units or note["unit"] not in by_name):
                unit = self.knowledge.unit(note["unit"])
                unit.uses = {path: Use.from_json(use) for path, use in note["uses"].items()}
        for test, ended in _ended(outcomes[LEARN]).items():
            if test in self.knowledge.units:
                fixtures = [*fixtures_of(by_name[test]), *ended["fixtures"]]
                known = [name for name in dict.fromkeys(fixtures) if name in self.knowledge.units]
                self.knowledge.units[test].fixtures = known
            for name in ended["fixtures"]:
                self.knowledge.unit(name)
        for ended in plain.values():
            for name, seconds in ended["fixtures"].items():
                if name in self.knowledge.units:
                    self.knowledge.units[name].seconds = seconds
        self._distrust(outcomes[LEARN])

    def _aim(self) -> None:
        found = dict.fromkeys(path for unit in self.knowledge.units.values() for path in unit.uses)
        lasting = [path for path in found if "<locals>" not in path]
        targets = [path for path in found if _dotted(path) in {_dotted(asked) for asked in self._asked.targets}]
        if self._asked.targets and not targets:
            built = f"The tests build {', '.join(lasting) or 'none at all'}."
            raise UsageError(f"no test builds or trains {', '.join(self._asked.targets)}. {built}")
        if not self._asked.targets:
            tests = {str(item.path) for item in self._items}
            own = [path for path in lasting if _file_of(path) not in tests]
            targets = own or lasting
        self.knowledge.aim(targets)
        if not self.knowledge.recons:
            raise UsageError(f"there is nothing to break: {_why_nothing(found, targets)}")
        self._know_code()

    def _know_code(self) -> None:
        self.matrix.targets = list(self.knowledge.recons)
        packages = frozenset(target.partition(".")[0] for target in self.matrix.targets)
        self._suspects = Suspects(self._suspects.files, UserCode(packages, self._suspects.code.folders))

    def _touch(self) -> None:
        self._engine.open("touches", {})
        tests = self._tests()
        # In both orders that there will be: a test that rests on what another has left behind shows itself.
        quickest = sorted(tests, key=lambda test: self._seconds([test]))
        orders = {"touch": tests, "again": quickest}
        outcomes = self._passes([self._pass(name, TOUCH, some) for name, some in orders.items()])
        first, again = outcomes["touch"], outcomes["again"]
        prints = {note["unit"]: note["fingerprint"] for note in again.notes if "touches" in note}
        for note in first.notes:
            if "touches" in note:
                unit = self.knowledge.unit(note["unit"])
                unit.touches = {seam: [tuple(moment) for moment in found] for seam, found in note["touches"].items()}
                # What is another in every run can't tell whether a fault changed it.
                same = prints.get(unit.name) == note["fingerprint"]
                unit.fingerprint = note["fingerprint"] if same else []
        for outcome in (first, again):
            for test, ended in _ended(outcome).items():
                self.knowledge.units[test].warnings += ended["warnings"]
        self._distrust(first, again)
        self._rely()
        self.matrix.tests = list(self._tests())
        units = self.knowledge.units
        self.matrix.seconds = {test: self._seconds([test]) for test in self.matrix.tests}
        self.matrix.fixtures = {
            test: {name: units[name].seconds for name in units[test].fixtures} for test in self.matrix.tests
        }

    def _rely(self) -> None:
        if self.matrix.left_out and not self._asked.leave_out:
            raise BaselineError(_unfit(self.matrix.left_out))

    def _tests(self) -> list[str]:
        return [item.nodeid for item in self._items if item.nodeid in self.knowledge.units]

    def _distrust(self, *outcomes: Outcome) -> None:
        """Leaves out the tests that pass by themselves and fail when they are watched."""
        suspicious = {
            test: ended["message"]
            for outcome in outcomes
            for test, ended in _ended(outcome).items()
            if ended["outcome"] == "failed" and test in self.knowledge.units
        }
        if not suspicious:
            return
        again = [self._pass(f"plain-{number}", PLAIN, suspicious) for number in range(3)]
        repeated = [_ended(outcome) for outcome in self._passes(again).values()]
        for test, message in suspicious.items():
            flaky = any(ended[test]["outcome"] == "failed" for ended in repeated)
            why = "flaky: it passes and fails on the clean code" if flaky else "broken: it fails whatever the fault"
            self.matrix.left_out[test] = f"{why}: {message}"
            del self.knowledge.units[test]

    def _inject(self) -> None:
        registry = catalogue.load()
        self._shared = fixtures.shareable(self.knowledge, self._items)
        self._engine.open("faults", {})
        waiting: dict[str, list[str]] = {}
        excuses = self._asked.selection.excuses
        for fault in self._selected(registry):
            mode = registry[fault.mode].mode
            # A trigger half-way is another step in every test: it stays the failure mode's own.
            named = fault if fault.trigger or mode.when != "always" else mode.complete(fault, 1)
            excuse = next((reason for glob, reason in excuses if catalogue.matching(glob, [fault.mode])), "")
            tests, reason = self.knowledge.reached(registry[fault.mode], fault)
            if excuse or reason:
                status = Status.IGNORED if excuse and tests else Status.NOT_APPLICABLE
                result = FaultResult(str(named), mode.id, mode.family, mode.severity, status, reason or excuse)
                self.matrix.rows.append(Row(result))
            else:
                waiting[str(named)] = sorted(tests, key=lambda test: self.matrix.seconds.get(test, 0.0))
        self._say(f"{len(waiting)} faults for {len(self.matrix.tests)} tests")
        self._run_faults(waiting)
        self.matrix.rows.sort(key=lambda row: row.result.id)

    def _selected(self, registry: Mapping[str, Registered]) -> list[Fault]:
        """The faults that are asked for, those of a callback once for each that any test has."""
        recons = [unit.recon for unit in self.knowledge.units.values() if unit.recon]
        found: dict[Fault, None] = {}
        for fault in plan.selected(self._asked.selection, registry):
            each = [one for recon in recons for one in plan.each(fault, registry, recon) if one != fault]
            found.update(dict.fromkeys(each or [fault]))
        return list(found)

    def _run_faults(self, waiting: dict[str, list[str]]) -> None:
        registry = catalogue.load()
        clean = self.knowledge.warnings
        outcomes: dict[str, list[Outcome]] = {}
        # The longest first: at the end no core waits for another.
        orders = [self._faulted(id, waiting[id]) for id in sorted(waiting, key=lambda id: -self._seconds(waiting[id]))]
        done = 0
        while orders:
            again: list[Order] = []
            for outcome in self._engine.run(orders):
                id = outcome.id.partition(" again")[0]
                found = outcomes.setdefault(id, [])
                found.append(outcome)
                left = remaining(waiting[id], _joined(found))
                # One that got to none of its tests would get to none again.
                begun = any("begins" in note for note in outcome.notes)
                if begun and left and self._asked.matrix and not outcome.lost:
                    again.append(self._faulted(id, left, f"{id} again {len(found)}"))
                    continue
                self.matrix.rows.append(judge(id, registry[Fault.parse(id).mode].mode, found, clean))
                done += 1
                self._say(f"{done} of {len(waiting)} faults")
            orders = again

    def _seconds(self, tests: Sequence[str]) -> float:
        needed = {name for test in tests for name in self.knowledge.units[test].fixtures}
        units = [self.knowledge.units[name] for name in (*tests, *needed)]
        return sum(unit.seconds for unit in units)

    def _faulted(self, fault: str, tests: Sequence[str], id: str = "") -> Order:
        mode = catalogue.load()[Fault.parse(fault).mode].mode
        factor, floor = (_HANG_FACTOR, _HANG_FLOOR) if mode.hangs else (_DEADLINE_FACTOR, _DEADLINE_FLOOR)
        deadline = self._asked.timeout or max(floor, factor * self._seconds(tests))
        task = {"pass": FAULT, "items": list(tests), "until_failure": not self._asked.matrix}
        return order(self._engine, id or fault, 0, deadline=deadline, fault=fault, tests=task, sleeps=mode.hangs)


def takes_part(item: pytest.Item) -> bool:
    """Whether it is a test of the user's code: doctests aren't, nor are tests that inject faults themselves."""
    own = item.get_closest_marker("detects") is not None or "inject" in getattr(item, "fixturenames", ())
    return isinstance(item, pytest.Function) and not own


def _ended(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {note["ended"]["test"]: note["ended"] for note in outcome.notes if "ended" in note}


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(outcomes[-1].id, notes=[note for outcome in outcomes for note in outcome.notes])


def _unfit(left_out: dict[str, str]) -> str:
    shown = "".join(f"\n    {test} ({reason.splitlines()[0]})" for test, reason in left_out.items())
    return f"{len(left_out)} tests can't be relied on:{shown}\n    Mend them, or go on without: --faultlab-leave-out."


def _why_nothing(found: Iterable[str], targets: Sequence[str]) -> str:
    if targets:
        return f"none of the tests calls training_step of {', '.join(targets)}"
    made = ", ".join(found)
    return f"{made} are made inside functions; define them in a module" if made else "no test builds a LightningModule"


def _dotted(path: str) -> str:
    return path.replace(":", ".")


def _file_of(path: str) -> str:
    module = path
    while module and module not in sys.modules:
        module = module.rpartition(".")[0]
    return str(getattr(sys.modules.get(module), "__file__", ""))


def _conftests(session: pytest.Session) -> Iterable[str]:
    plugins = session.config.pluginmanager.get_plugins()
    return [str(file) for plugin in plugins if (file := getattr(plugin, "__file__", "") or "").endswith("conftest.py")]

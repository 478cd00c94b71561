"""The clean passes over a collected suite, which record what each test builds, trains and reaches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from faultlab.campaign.clean_runs import DEADLINE, order
from faultlab.core.orders import Order, RunTests
from faultlab.core.results import Outcome, SuiteRun
from faultlab.core.target_profile import TargetProfile
from faultlab.engines import Engine
from faultlab.errors import BaselineError, UsageError
from faultlab.frameworks.loops.stepped import Seen
from faultlab.frameworks.registry import default_framework
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.pytest_internals import definitions_of
from faultlab.testing.suite_targets import Use
from faultlab.testing.test_runner import fixtures_of
from faultlab.testing.victims import LEARN, PLAIN, PROBE, TOUCH

_FLAKY = "flaky: it passes and fails on the clean code"
_BROKEN = "broken: it fails with faults that never act, or in another order"


class CleanPasses:
    """The passes that fill ``knowledge``.

    ``left_out`` has the reasons why tests are left out; unless ``leave_out`` is set, that is an error.
    """

    def __init__(
        self,
        session: pytest.Session,
        engine: Engine,
        knowledge: Knowledge,
        targets: Sequence[str] = (),
        leave_out: bool = False,
    ) -> None:
        self.knowledge = knowledge
        self.left_out: dict[str, str] = {}
        self.items = [item for item in session.items if takes_part(item)]
        self._session = session
        self._engine = engine
        self._targets = targets
        self._leave_out = leave_out

    def learn(self, replay: Callable[[Sequence[Any]], None]) -> None:
        """Run the plain pass, whose notes are given to ``replay``, and the two passes that watch.

        Raises:
            BaselineError: The clean suite is not reliable.
            UsageError: There is nothing to break.
        """
        self._plain_and_learn(replay)
        try:
            targets = self._choose()
            self._probe(targets)
            self._aim(targets)
        except UsageError:
            # If tests fail, they are the reason why there is nothing to break.
            self._rely()
            raise
        self._touch()

    def _pass(self, id: str, style: str, items: Iterable[str]) -> Order:
        return order(self._engine, id, RunTests(tuple(items), style), deadline=DEADLINE)

    def _passes(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        outcomes = {outcome.id: outcome for outcome in self._engine.run(orders)}
        for outcome in outcomes.values():
            if not isinstance(outcome.result, SuiteRun):
                how = f"takes over {DEADLINE:.0f} s" if outcome.timed_out else f"ends with status {outcome.exit}"
                begun = [note["begins"]["test"] for note in outcome.notes if "begins" in note]
                within = f", in {begun[-1]}" if begun else ""
                raise BaselineError(f"the clean suite {how}{within}\n{outcome.output[-2000:]}")
            for module in outcome.result.imported:
                # Later copies need not import what the clean run imported.
                with suppress(Exception):
                    importlib.import_module(module)
        return outcomes

    def _plain_and_learn(self, replay: Callable[[Sequence[Any]], None]) -> None:
        self._engine.open("clean", {})
        everything = [item.nodeid for item in self._session.items]
        mine = [item.nodeid for item in self.items]
        orders = [self._pass(PLAIN, PLAIN, everything), self._pass(LEARN, LEARN, mine)]
        trainers = default_framework().foreign
        imported = trainers.imported()
        outcomes = self._passes(orders)
        if trainers.imported() and not imported:
            # The tests import Lightning only when they run: before that its modules can't be watched.
            self._engine.open("imported", {})
            outcomes.update(self._passes(orders[1:]))
        elif _failed(outcomes[LEARN]) - _failed(outcomes[PLAIN]):
            # The plain pass, which ran beside it, may have changed files that both read.
            outcomes.update(self._passes(orders[1:]))
        replay(outcomes[PLAIN].notes)
        by_name = {item.nodeid: item for item in self.items}
        plain = _ended(outcomes[PLAIN])
        for test, ended in plain.items():
            if ended["kind"] == "process":
                raise BaselineError(f"{test} ends the whole session on the clean code: {ended['message']}")
        for test in mine:
            if plain[test]["outcome"] == "failed":
                self.left_out[test] = f"it fails on the clean code: {plain[test]['message']}"
            elif plain[test]["outcome"] == "passed":
                unit = self.knowledge.unit(test)
                unit.seconds = plain[test]["seconds"] - sum(plain[test]["fixtures"].values())
                unit.warnings = plain[test]["warnings"]
        for note in outcomes[LEARN].notes:
            if "uses" in note and (note["unit"] in self.knowledge.units or note["unit"] not in by_name):
                unit = self.knowledge.unit(note["unit"])
                unit.uses = {path: Use.from_json(use) for path, use in note["uses"].items()}
                unit.trainings = [Seen.from_json(seen) for seen in note["trainings"]]
                unit.called = [(path, number) for path, number in note["called"]]
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
        for note in outcomes[LEARN].notes:
            if note.get("injects"):
                # A fault within a fault shows nothing about either.
                self.knowledge.units.pop(note["unit"], None)
        self._distrust(outcomes[LEARN])

    def _choose(self) -> list[str]:
        """Return the class paths of the modules to break: those that were asked for, or all that tests train."""
        units = self.knowledge.units.values()
        found = dict.fromkeys(path for unit in units for path in unit.uses)
        stepped = dict.fromkeys(seen.layout.root for unit in units for seen in unit.trainings)
        lasting = [path for path in found if "<locals>" not in path]
        if self._targets:
            asked = {_dotted(target) for target in self._targets}
            targets = [path for path in (found | stepped) if _dotted(path) in asked]
            if not targets:
                built = f"The tests build {', '.join(lasting) or f'no {default_framework().foreign.module_name}'}"
                trained = f"train {', '.join(stepped)} by loops" if stepped else "step no optimizer of torch's"
                raise UsageError(f"no test builds or trains {', '.join(self._targets)}. {built}, and {trained}.")
        else:
            tests = {str(item.path) for item in self.items}
            own = [path for path in lasting if _file_of(path) not in tests]
            targets = list(dict.fromkeys([*(own or lasting), *stepped]))
        if not targets:
            raise UsageError(f"there is nothing to break: {_why_nothing(found)}")
        return targets

    def _probe(self, targets: Sequence[str]) -> None:
        """Take the profiles of the targets that tests train by loops of their own, and add them to what tests use."""
        loops: list[str] = []
        for unit in self.knowledge.units.values():
            trained = [seen for seen in unit.trainings if seen.layout.root in targets]
            # What Lightning knows of its own modules goes further.
            if trained and not any(use.profile for path, use in unit.uses.items() if path in targets):
                unit.target = max(trained, key=lambda seen: seen.updates).layout.root
                loops.append(unit.name)
            for path in {path for path, _ in unit.called if path in targets} - unit.uses.keys():
                unit.uses[path] = Use(sum(path == other for other, _ in unit.called))
        if not loops:
            return
        needed = [test for test in self.tests() if any(unit.name in loops for unit in self.knowledge.together(test))]
        self._engine.open("probed", {})
        outcome = self._passes([self._pass(PROBE, PROBE, needed)])[PROBE]
        for note in outcome.notes:
            if "loop" in note and note["loop"]["profile"]:
                unit, found = self.knowledge.unit(note["unit"]), note["loop"]
                use = unit.uses.setdefault(found["path"], Use(1))
                use.steps, use.profile = found["steps"], TargetProfile.from_json(found["profile"])
        self._distrust(outcome)

    def _aim(self, targets: Sequence[str]) -> None:
        self.knowledge.aim(targets)
        if not self.knowledge.profiles:
            steps = f"none of the tests calls training_step of {', '.join(targets)}"
            raise UsageError(f"there is nothing to break: {steps}, or steps an optimizer for it")

    def _touch(self) -> None:
        self._engine.open("touches", {})
        tests = self.tests()
        # In both orders that the faulted runs use, to find tests that depend on what another leaves behind.
        orders = {"touch": tests, "again": self.knowledge.quickest_first(tests)}
        outcomes = self._passes([self._pass(name, TOUCH, some) for name, some in orders.items()])
        first, again = outcomes["touch"], outcomes["again"]
        prints = {note["unit"]: note["fingerprint"] for note in again.notes if "touches" in note}
        for note in first.notes:
            if "touches" in note:
                unit = self.knowledge.unit(note["unit"])
                unit.touches = {seam: [tuple(moment) for moment in found] for seam, found in note["touches"].items()}
                # A fingerprint that differs from run to run can't show whether a fault changed it.
                same = prints.get(unit.name) == note["fingerprint"]
                unit.fingerprint = note["fingerprint"] if same else []
        for outcome in (first, again):
            for test, ended in _ended(outcome).items():
                self.knowledge.units[test].warnings += ended["warnings"]
        self._distrust(first, again)
        self._rely()

    def _rely(self) -> None:
        if self.left_out and not self._leave_out:
            raise BaselineError(_unfit(self.left_out))

    def tests(self) -> list[str]:
        """Return the reliable tests in the order of the suite."""
        return [item.nodeid for item in self.items if item.nodeid in self.knowledge.units]

    def _distrust(self, *outcomes: Outcome) -> None:
        """Leave out the tests that pass unwatched and fail while they are watched."""
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
            why = _FLAKY if flaky else _BROKEN
            self.left_out[test] = f"{why}: {message}"
            del self.knowledge.units[test]


def takes_part(item: pytest.Item) -> bool:
    """Return whether it is a test to run under faults: not a doctest, nor a test that injects faults itself."""
    definitions = definitions_of(item).get("inject", ())
    # Users may have a fixture of that name themselves.
    given = any(definition.func.__module__ == "faultlab.pytest_plugin" for definition in definitions[-1:])
    own = given or item.get_closest_marker("detects") is not None
    return isinstance(item, pytest.Function) and not own


def _ended(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {note["ended"]["test"]: note["ended"] for note in outcome.notes if "ended" in note}


def _failed(outcome: Outcome) -> set[str]:
    return {test for test, ended in _ended(outcome).items() if ended["outcome"] == "failed"}


def _unfit(left_out: dict[str, str]) -> str:
    shown = "".join(f"\n    {test} ({reason.splitlines()[0]})" for test, reason in left_out.items())
    return f"{len(left_out)} tests are not reliable:{shown}\n    Fix them, or leave them out with --faultlab-leave-out."


def _why_nothing(found: Iterable[str]) -> str:
    made = ", ".join(found)
    if made:
        return f"{made} are local to functions: define them in a module"
    return f"no test builds a {default_framework().foreign.module_name} or steps an optimizer of torch's"


def _dotted(path: str) -> str:
    return path.replace(":", ".")


def _file_of(path: str) -> str:
    module = path
    while module and module not in sys.modules:
        module = module.rpartition(".")[0]
    return str(getattr(sys.modules.get(module), "__file__", ""))

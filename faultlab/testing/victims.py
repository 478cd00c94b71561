"""The forked copies of pytest's process, which run the collected tests: clean, or with one fault."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from faultlab.catalogue.requirements import inapplicable
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, RunTests
from faultlab.core.patching import Patches
from faultlab.core.results import SuiteRun, message_of
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks import loops
from faultlab.frameworks import registry as frameworks
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.injection import registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from faultlab.testing.copied_ranks import copied_ranks
from faultlab.testing.embedding import Embedding
from faultlab.testing.failures import Suspects
from faultlab.testing.knowledge import Knowledge, Unit
from faultlab.testing.loop_embedding import LoopEmbedding
from faultlab.testing.loop_observer import LoopObserver
from faultlab.testing.seam_coverage import touches
from faultlab.testing.suite_targets import Learner, find_class
from faultlab.testing.test_runner import Conductor, Ended, Scope, become_victim, end_coverage, imported_since

PLAIN, LEARN, PROBE, TOUCH, FAULT = "plain", "learn", "probe", "touch", "fault"
Send = Callable[[dict[str, Any]], None]


class Victim:
    """The execution of one order in a copy of pytest's process, which sends a note for each test that ends."""

    def __init__(self, session: pytest.Session, suspects: Suspects, rng: Any, knowledge: Knowledge) -> None:
        self._session = session
        self._suspects = suspects
        self._rng = rng
        self._knowledge = knowledge

    def carry_out(self, order: Order, send: Send) -> None:
        """Run the tests that the order names."""
        task = order.task
        assert isinstance(task, RunTests)
        os.makedirs(order.root, exist_ok=True)
        become_victim(self._session, order.root)
        passes = {
            PLAIN: self._plain,
            LEARN: self._learn,
            PROBE: self._probe,
            TOUCH: self._touch,
            FAULT: self._fault,
        }
        by_name = {item.nodeid: item for item in self._session.items}
        items = [by_name[name] for name in task.tests]
        # For clean passes alone: listing the modules copies their memory.
        modules = None if task.style == FAULT else set(sys.modules)
        if order.id != PLAIN:
            end_coverage(keep=False)
        # Only the plain pass writes the user's files: the others run for faultlab alone.
        folders = [os.getcwd(), str(self._session.config.rootpath)] if order.id != PLAIN else []
        with file_calls.redirected(order.root, folders) if folders else contextlib.nullcontext(), copied_ranks():
            passes[task.style](order, items, send)
        if order.id == PLAIN:
            end_coverage(keep=True)
        send(message_of(SuiteRun(imported_since(modules) if modules is not None else {})))
        shutil.rmtree(order.root, ignore_errors=True)

    def _conductor(self, order: Order, scope: Scope, send: Send) -> Conductor:
        conductor = Conductor(self._suspects, scope, self._rng, order.root)
        conductor.on_begin = lambda ended: send({"note": {"begins": asdict(ended)}})
        conductor.on_end = lambda ended: send({"note": {"ended": asdict(ended)}})
        return conductor

    def _plain(self, order: Order, items: Sequence[pytest.Item], send: Send) -> None:
        """Run the tests with nothing attached, for the reports that pytest itself would give."""
        conductor, hook = self._conductor(order, lambda unit: contextlib.nullcontext(), send), self._session.config.hook

        def report(report: Any) -> None:
            send({"note": {"report": hook.pytest_report_to_serializable(config=self._session.config, report=report)}})

        conductor.on_report = report
        conductor.on_warning = lambda warning: send({"note": {"warning": warning}})
        conductor.run(self._session, items)

    def _learn(self, order: Order, items: Sequence[pytest.Item], send: Send) -> None:
        """Run the tests and record the modules that they build and train."""
        learner, observer = Learner(order.root), LoopObserver()

        @contextlib.contextmanager
        def scope(unit: str) -> Iterator[None]:
            before, learner.uses, learner.injected = learner.uses, {}, False
            with observer.observing() as observation:
                try:
                    yield
                finally:
                    uses = {path: use.to_json() for path, use in learner.uses.items()}
                    loops = {
                        "trainings": [seen.to_json() for seen in observation.trainings()],
                        "called": observation.called(),
                    }
                    send({"note": {"unit": unit, "uses": uses, "injects": learner.injected, **loops}})
                    learner.uses = before

        learner.apart = observer.apart
        with learner:
            self._conductor(order, scope, send).run(self._session, items)

    def _probe(self, order: Order, items: Sequence[pytest.Item], send: Send) -> None:
        """Run the tests and take the target profiles of the trainings by loops of their own."""
        units = Units(self._knowledge)

        @contextlib.contextmanager
        def scope(name: str) -> Iterator[None]:
            unit = self._knowledge.units.get(name)
            if unit is None or not (own := [n for n, (_, ours) in enumerate(unit.loops(unit.target)) if ours]):
                with units.within(None):
                    yield
                return
            embedding = LoopEmbedding(unit.loops(unit.target), [], LoopClock())
            result = embedding.profile(max(own, key=lambda number: unit.trainings[number].updates))
            with units.within(embedding):
                yield
            profile, steps = result()
            found = {"path": unit.target, "profile": profile.to_json() if profile else None, "steps": steps}
            send({"note": {"unit": name, "loop": found}})

        self._conductor(order, scope, send).run(self._session, items)

    def _touch(self, order: Order, items: Sequence[pytest.Item], send: Send) -> None:
        """Run the tests with hooks at every injection point and no fault, to find tests that the hooks make fail."""
        known, units = registry.load(), Units(self._knowledge)

        @contextlib.contextmanager
        def scope(name: str) -> Iterator[None]:
            unit = units.aim(name)
            if unit is None:
                with units.within(None):
                    yield
                return
            clock = frameworks.named(self._knowledge.profile_of(unit).framework).clock()
            found = touches(known, clock, self._knowledge.profile_of(unit))
            embedding = embedded(unit, self._knowledge.profile_of(unit), found.values(), clock, order.root)
            for touch in found.values():
                touch.embedding = embedding
            with units.within(embedding):
                yield
            moments = {seam: touch.moments for seam, touch in found.items()}
            send({"note": {"unit": name, "touches": moments, "fingerprint": embedding.fingerprint}})

        self._conductor(order, scope, send).run(self._session, items)

    def _fault(self, order: Order, items: Sequence[pytest.Item], send: Send) -> None:
        """Run the tests with the fault armed in each unit that uses the target."""
        task = order.task
        assert isinstance(task, RunTests)
        assert task.fault is not None
        arming = Arming(task.fault, self._knowledge, order.root, lambda step: send({"acting": step}))
        # These failures are not shown, and formatting the source of every frame takes longer than most tests.
        self._session.config.option.tbstyle = "no"
        conductor = self._conductor(order, arming.scope, send)
        conductor.on_end = lambda ended: send({"note": {"ended": asdict(ended), **arming.done(ended)}})
        conductor.run(self._session, items, lambda ended: task.until_failure and arming.killed(ended))


def embedded(
    unit: Unit, profile: TargetProfile, armed: Iterable[Armed], clock: Clock, folder: str
) -> Embedding | LoopEmbedding:
    """Return what makes faults act on the unit's target: on its class, or on the trainings by loops of its own."""
    if isinstance(clock, LoopClock):
        return LoopEmbedding(unit.loops(unit.target), armed, clock)
    target = find_class(unit.target)
    assert target is not None
    return Embedding(frameworks.named(profile.framework), target, armed, clock, folder)


class Units:
    """The nested units that are entered; only the innermost has its faults armed."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._innermost: Embedding | LoopEmbedding | None = None

    def aim(self, name: str) -> Unit | None:
        """Return the unit of that name; None if nothing in it can be broken."""
        unit = self._knowledge.units.get(name)
        if unit is None or not unit.target:
            return None
        if self._knowledge.profile_of(unit).framework == loops.NAME:
            return unit if any(own for _, own in unit.loops(unit.target)) else None
        return unit if find_class(unit.target) is not None else None

    @contextlib.contextmanager
    def within(self, embedding: Embedding | LoopEmbedding | None) -> Iterator[None]:
        """Enter the unit that has this embedding."""
        outer = self._innermost
        self._innermost = embedding
        try:
            with outer.suspended() if outer else contextlib.nullcontext(), embedding or contextlib.nullcontext():
                yield
        finally:
            self._innermost = outer


class Arming:
    """One fault, armed separately in each unit; ``done`` returns what it did. With an overlay, units write to that."""

    def __init__(
        self,
        fault: Fault,
        knowledge: Knowledge,
        folder: str,
        acting: Callable[[int], None],
        overlay: Overlay | None = None,
    ) -> None:
        self._fault = fault
        self._registered = registry.load()[fault.mode]
        self._knowledge = knowledge
        self._folder = folder
        self._acting = acting
        self._overlay = overlay
        self._entered = Units(knowledge)
        self._units: dict[str, tuple[Armed, Embedding | LoopEmbedding]] = {}

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Arm the fault in the unit, if the unit uses a target."""
        import torch

        unit = self._entered.aim(name)
        # With --faultlab-inject every test runs, also those that the fault can't happen in.
        if unit is None or inapplicable(self._registered.mode, self._knowledge.profile_of(unit)):
            with self._entered.within(None):
                yield
            return
        profile = self._knowledge.profile_of(unit)
        clock = frameworks.named(profile.framework).clock()
        complete = self._knowledge.complete(self._registered.mode, self._fault, unit)
        armed = Armed(complete, self._registered, clock, profile, self._acting)
        embedding = embedded(unit, profile, [armed], clock, self._folder)
        self._units[unit.name] = armed, embedding
        gradients = torch.is_grad_enabled()
        try:
            with self._entered.within(embedding), Patches() as patches:
                if self._overlay is not None:
                    file_calls.take_over(patches, self._overlay)
                yield
        finally:
            # A fault must not affect the tests that follow.
            torch.set_grad_enabled(gradients)

    def killed(self, ended: Ended) -> bool:
        """Return whether the test failed after the fault had acted."""
        return ended.outcome == "failed" and self.done(ended)["activations"] > 0

    def done(self, ended: Ended) -> dict[str, Any]:
        """Return what the fault did in a test and in the fixtures that it depends on.

        ``step`` is the last training step, ``same`` whether all trainings were the clean ones (None if unknown).
        """
        known = self._knowledge.units.get(ended.test)
        names = [ended.test, *ended.fixtures, *(known.fixtures if known else ())]
        found = [(name, *self._units[name]) for name in dict.fromkeys(names) if name in self._units]
        acted = [(name, armed, embedding) for name, armed, embedding in found if armed.activations]
        clean = [(self._knowledge.units[name].fingerprint, embedding.fingerprint) for name, _, embedding in acted]
        return {
            "activations": sum(armed.activations for _, armed, _ in acted),
            "first_step": min((armed.first_step or 0 for _, armed, _ in acted), default=None),
            "step": max((armed.clock.step for _, armed, _ in found), default=0),
            "same": all(one == other for one, other in clean) if all(one for one, _ in clean) else None,
            "broken": next((armed.broken for _, armed, _ in found if armed.broken), ""),
        }

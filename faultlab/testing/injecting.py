"""``inject``: a fault in a block of a test."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from faultlab.catalogue.requirements import inapplicable
from faultlab.config.fault_patterns import parse_fault
from faultlab.core.class_paths import path_of
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.detectors.guard_observer import Observer
from faultlab.errors import FaultlabError, UsageError
from faultlab.frameworks import loops
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.stepped import Seen
from faultlab.frameworks.registry import default_framework, named
from faultlab.injection import registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.injection.watchers import release
from faultlab.testing import pytest_internals
from faultlab.testing.dry_run import Rehearsal, passed
from faultlab.testing.embedding import Embedding
from faultlab.testing.loop_block import LoopBlock
from faultlab.testing.loop_embedding import LoopEmbedding
from faultlab.testing.loop_observer import LoopObserver
from faultlab.testing.suite_targets import Learner, Use, find_class


class NotActivatedError(FaultlabError):
    """The fault never acted in the block, so that the block's result shows nothing about it."""


class Injection:
    """The context of `inject`: the target that the block builds or trains has the fault.

    The block runs twice: first without the fault, in a copy of the process, to learn how the module is built. If a loop
    of its own trains the module, a second copy takes the target profile. A fault that never acted raises
    NotActivatedError at the end, since the block's assertions then hold for a clean run.

    Attributes:
        activations: How often the fault has acted.
        first_step: The training step of the first activation, from 0; None before it.
        step: The training step that the training is at.
    """

    def __init__(self, fault: str | Fault, target: type | None = None) -> None:
        self.fault = parse_fault(str(fault))
        self._target = target
        self._rehearsal: Rehearsal | None = None
        self._armed: Armed | None = None
        self._framework = default_framework()
        self._clock = self._framework.clock()
        self._steps = 0
        self._stack = ExitStack()
        self._embedding: Embedding | LoopEmbedding | None = None
        self._report: Callable[[], dict[str, Any]] = dict

    @property
    def activations(self) -> int:
        return self._armed.activations if self._armed else 0

    @property
    def first_step(self) -> int | None:
        return self._armed.first_step if self._armed else None

    @property
    def step(self) -> int:
        return self._clock.step

    def __enter__(self) -> Injection:
        __tracebackhide__ = True
        if Learner.current is not None:
            Learner.current.injected = True
        if _within_a_fixture():
            raise UsageError("a fixture's block lasts through the whole test: inject in the test itself")
        imported = self._framework.foreign.imported()
        learnt = self._rehearse(self._learning)
        if learnt is None:
            return self
        uses = {path: Use.from_json(use) for path, use in learnt["uses"].items()}
        trained = {path: use for path, use in uses.items() if use.profile is not None}
        block = LoopBlock([Seen.from_json(seen) for seen in learnt["trainings"]], self._wanted)
        # A block may assert what holds only with the fault, as long as it trains first.
        if not (trained or block.trained):
            passed(learnt)
        if not imported and (learnt["imported"] or not block.trained):
            raise UsageError("there is nothing to break yet: import your module before the block")
        if path := self._aim(trained, block):
            self._aim_at(path, trained[path])
        elif not self._probed(block):
            return self
        assert self._armed is not None
        assert self._embedding is not None
        with ExitStack() as stack:
            stack.enter_context(self._embedding)
            self._watch(stack, self._clock)
            self._stack = stack.pop_all()
        return self

    def _rehearse(self, watching: Callable[[], Callable[[], dict[str, Any]]]) -> dict[str, Any] | None:
        """Return what a dry run of the block reports, which ``watching`` sets up; None in the dry run itself."""
        rehearsal = Rehearsal()
        learnt = rehearsal.begin()
        if learnt is None:
            self._rehearsal = rehearsal
            try:
                self._report = watching()
                self._watch(self._stack, self._clock)
            except BaseException as error:  # a copy must not continue as if it were the process
                rehearsal.end(dict, error)
            return None
        if learnt["skipped"]:
            sys.modules["pytest"].skip(learnt["skipped"])
        self._learn(learnt)
        return learnt

    def _learning(self) -> Callable[[], dict[str, Any]]:
        learner, observer = Learner(), LoopObserver()
        learner.apart = observer.apart
        self._stack.enter_context(learner)
        self._clock = learner.clock
        observation = self._stack.enter_context(observer.observing())

        def told() -> dict[str, Any]:
            return {
                "uses": {path: use.to_json() for path, use in learner.uses.items()},
                "trainings": [seen.to_json() for seen in observation.trainings()],
                "imported": self._framework.foreign.imported(),
            }

        return told

    def _aim_at(self, path: str, use: Use) -> None:
        """Arm the fault for a module that a Trainer of Lightning's trains."""
        target = self._target or find_class(path)
        if target is None:
            raise UsageError(f"{path} does not exist before the block: import its module first")
        assert use.profile is not None
        armed = self._arm(path, use.profile, use.steps)
        self._embedding = Embedding(self._framework, target, [armed], self._clock)

    def _probed(self, block: LoopBlock) -> bool:
        """Arm the fault for a module that a loop trains, after one more dry run; return False in that itself."""
        self._framework, clock = named(loops.NAME), LoopClock()
        self._clock = clock

        def watching() -> Callable[[], dict[str, Any]]:
            embedding = block.embedding([], clock)
            told = block.probing(embedding)
            self._embedding = self._stack.enter_context(embedding)

            def left() -> dict[str, Any]:
                self._stack.close()
                return told()

            return left

        learnt = self._rehearse(watching)
        if learnt is None:
            return False
        armed = self._arm(block.root, block.profile(learnt), learnt["steps"])
        self._embedding = block.embedding([armed], clock)
        return True

    def _arm(self, path: str, profile: TargetProfile, steps: int) -> Armed:
        registered = registry.load()[self.fault.mode]
        if reason := inapplicable(registered.mode, profile):
            raise UsageError(f"{self.fault} is not applicable to {path}: {reason}")
        self._steps = steps
        complete = registered.mode.complete(self.fault, steps)
        self._armed = Armed(complete, registered, self._clock, profile, lambda step: self._acts())
        return self._armed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        __tracebackhide__ = True
        if self._rehearsal is not None:
            self._rehearsal.end(self._tell, error)
        self._stack.close()
        assert self._armed is not None
        if self._armed.broken:
            raise FaultlabError(f"the injector of {self.fault} failed: {self._armed.broken}") from error
        if (error is None or isinstance(error, Exception)) and not self.activations:
            raise NotActivatedError(f"{self._armed.fault} never acted in the block: {self._why_not()}") from error
        return None

    def _why_not(self) -> str:
        assert self._armed is not None
        trigger = self._armed.fault.trigger
        if trigger is not None and trigger.kind == "step" and (trigger.number or 0) >= self._steps:
            return f"its training has {self._steps} steps"
        return "it acts while a module or Trainer is built, so build them inside the block"

    def _watch(self, stack: ExitStack, clock: Clock) -> None:
        """Attach further observers of the block, in the clean and in the faulted run."""

    def _learn(self, learnt: dict[str, Any]) -> None:
        """Read what further observers reported from the dry run."""

    @contextmanager
    def _observing(self, observer: Observer) -> Iterator[None]:
        """Observe the guards of every training, also those that the module adds."""
        watched: list[Any] = []

        def observe(guard: Any, name: str) -> None:
            watched.append(observer.observe(guard, name))

        with Patches() as patches:
            if isinstance(self._embedding, LoopEmbedding):
                self._embedding.observe(observe)
            else:
                default_framework().foreign.watch_guards(patches, observe)
            try:
                yield
            finally:
                for guard in watched:
                    release(guard)

    def _acts(self) -> None:
        """Prepare for the first activation, which is about to happen."""

    def _tell(self) -> dict[str, Any]:
        return self._report()

    @property
    def _wanted(self) -> str:
        return path_of(self._target) if self._target is not None else ""

    def _aim(self, trained: dict[str, Use], block: LoopBlock) -> str:
        """Return the class path of the LightningModule to break; empty if it is the module of a loop."""
        named = {path: use for path, use in trained.items() if self._wanted in ("", path)}
        if not named:
            if block.root:
                return ""
            module = self._framework.foreign.module_name
            what = self._wanted or f"{module} of yours and steps no optimizer of torch's"
            also = ", ".join([*trained, *block.trained])
            raise UsageError(f"the block trains no {what}" + (f"; it trains {also}" if also else ""))
        path = max(named, key=lambda one: (named[one].steps, named[one].built))
        if self._target is None and "<locals>" in path:
            raise UsageError(
                f"{path} is defined inside a function, which creates it again in each run: name the class with target="
            )
        return path


def inject(fault: str | Fault, target: type | None = None) -> Injection:
    """Return a context that puts a fault into the module that the block trains.

    Lightning may train it, a loop in PyTorch, the Trainer of Hugging Face, Accelerate, Fabric, Ignite or skorch. The
    block runs twice, or without Lightning three times: first clean, in copies of the process. Guards act as usual: what
    one raises leaves the block.

    Args:
        fault: The fault or its text, such as ``"loss.nan@step=3"``.
        target: The class of the module to break: a LightningModule, or what an optimizer of torch's steps. By default
            the LightningModule that the block trains the most, without any the module with the most steps.

    Returns:
        The context, with ``activations`` (how often the fault has acted), ``first_step`` (the training step of the
        first activation) and ``step`` (that of the training).

    Raises:
        UsageError: The fault is unknown or not applicable to the module, or the block can't be copied or trains no
            module to break.
        RehearsalError: The block fails without the fault.
        NotActivatedError: The fault has never acted, at the end of the block.
    """
    return Injection(fault, target)


def _within_a_fixture() -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if pytest_internals.calls_a_fixture(frame):
            return True
        frame = frame.f_back
    return False

"""``inject`` and ``assert_detected``: a fault in a block of a test, and the assertion that it is detected."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from faultlab.campaign.verdict import detection
from faultlab.catalogue.requirements import inapplicable
from faultlab.config.fault_patterns import parse_fault
from faultlab.core.alert import Alert
from faultlab.core.class_paths import path_of
from faultlab.core.detection import Detection
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.detectors import exceptions
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.errors import FaultlabError, UsageError
from faultlab.frameworks.registry import default_framework
from faultlab.injection import registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.injection.watchers import release
from faultlab.testing import pytest_internals
from faultlab.testing.dry_run import Rehearsal, RehearsalError
from faultlab.testing.embedding import Embedding
from faultlab.testing.suite_targets import Learner, Use, find_class

_FLAGS = ("detect_anomaly",)
By = type | str | None


class NotActivatedError(FaultlabError):
    """The fault never acted in the block, so that the block's result shows nothing about it."""


class NotDetectedError(FaultlabError, AssertionError):
    """No detector detected the fault, or not the expected one, or too late."""


class Injection:
    """The context of `inject`: the target that the block builds or trains has the fault.

    The block runs twice: first without the fault, in a copy of the process, to learn how the module is built. A fault
    that never acted raises NotActivatedError at the end, since the block's assertions then hold for a clean run.

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
        self._learner = Learner()

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
        if not self._framework.foreign.imported():
            raise UsageError("there is nothing to break yet: import your module before the block")
        rehearsal = Rehearsal()
        learnt = rehearsal.begin()
        if learnt is None:
            self._rehearsal = rehearsal
            try:
                self._stack.enter_context(self._learner)
                self._watch(self._stack, self._learner.clock)
            except BaseException as error:  # a copy must not continue as if it were the process
                rehearsal.end(self._tell, error)
            return self
        if learnt["skipped"]:
            sys.modules["pytest"].skip(learnt["skipped"])
        self._learn(learnt)
        uses = {path: Use.from_json(use) for path, use in learnt["uses"].items()}
        # A block may assert what holds only with the fault, as long as it trains first.
        if learnt["error"] and not any(use.profile for use in uses.values()):
            raise RehearsalError(f"the block fails without any fault: {learnt['error']}")
        path, use = self._aim(uses)
        target = self._target or find_class(path)
        if target is None:
            raise UsageError(f"{path} does not exist before the block: import its module first")
        assert use.profile is not None
        registered = registry.load()[self.fault.mode]
        if reason := inapplicable(registered.mode, use.profile):
            raise UsageError(f"{self.fault} is not applicable to {path}: {reason}")
        self._steps = use.steps
        complete = registered.mode.complete(self.fault, use.steps)
        self._armed = Armed(complete, registered, self._clock, use.profile, lambda step: self._acts())
        with ExitStack() as stack:
            stack.enter_context(Embedding(self._framework, target, [self._armed], self._clock))
            self._watch(stack, self._clock)
            self._stack = stack.pop_all()
        return self

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
            self._framework.foreign.watch_guards(patches, observe)
            try:
                yield
            finally:
                for guard in watched:
                    release(guard)

    def _acts(self) -> None:
        """Prepare for the first activation, which is about to happen."""

    def _tell(self) -> dict[str, Any]:
        return {"uses": {path: use.to_json() for path, use in self._learner.uses.items()}}

    def _aim(self, uses: dict[str, Use]) -> tuple[str, Use]:
        wanted = path_of(self._target) if self._target is not None else ""
        trained = {path: use for path, use in uses.items() if use.profile is not None}
        named = {path: use for path, use in trained.items() if not wanted or path == wanted}
        if not named:
            what = wanted or "no LightningModule of yours"
            also = f"; it trains {', '.join(trained)}" if trained else ""
            raise UsageError(f"the block trains {what if not wanted else f'no {wanted}'}{also}")
        path, use = max(named.items(), key=lambda item: (item[1].steps, item[1].built))
        if self._target is None and "<locals>" in path:
            raise UsageError(
                f"{path} is defined inside a function, which creates it again in each run: name the class with target="
            )
        return path, use


class Detecting(Injection):
    """The context of `assert_detected`. ``detections`` has those that the clean run does not give."""

    def __init__(self, fault: str | Fault, by: By, within: int | None, target: type | None) -> None:
        super().__init__(fault, target)
        self.detections: list[Detection] = []
        self._by = by if isinstance(by, str) or by is None else by.__name__
        self._within = within
        self._clean: list[Alert] = []
        self._observer: Observer | None = None
        self._before: list[Alert] = []
        # The folder of the calling file, since a test may change the working folder.
        self.folders = [str(Path(_caller()).parent), os.getcwd()]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        __tracebackhide__ = True
        if error is not None and not isinstance(error, (Exception, SystemExit)):
            # Ctrl-C or pytest.skip ends the block.
            return super().__exit__(kind, error, tb)
        super().__exit__(kind, error, tb)
        assert self._armed is not None
        assert self._observer is not None
        ended = [self._classified(error)] if error is not None else []
        if not self.activations:
            assert error is not None
            raise NotActivatedError(f"{self._armed.fault} had not acted when the block ended") from error
        mode = registry.load()[self.fault.mode].mode
        caused = [n for n in [*self._observer.alerts, *ended] if n.step >= (self.first_step or 0)]
        quiet = [*self._clean, *self._before]
        new = [n for n in caused if not any(n.same_alert(known) for known in quiet)]
        self.detections = [detection(alert, self.first_step, mode) for alert in new if not alert.finds_nothing]
        if not any(self._counts(alert) for alert in self.detections):
            raise NotDetectedError(self._told()) from error
        return True

    def _watch(self, stack: ExitStack, clock: Clock) -> None:
        heard = Warnings(clock)
        stack.enter_context(heard.listening())
        self._observer = Observer(clock, heard, self._framework.hooks_of)
        stack.enter_context(self._observing(self._observer))

    def _acts(self) -> None:
        # Earlier alerts have another cause, such as the checkpoints that the dry run left.
        self._before = list(self._observer.alerts) if self._observer else []

    def _learn(self, learnt: dict[str, Any]) -> None:
        if learnt["error"]:
            raise RehearsalError(f"the block fails without any fault: {learnt['error']}")
        self._clean = [Alert.from_json(alert) for alert in learnt["detections"]]

    def _tell(self) -> dict[str, Any]:
        assert self._observer is not None
        return {**super()._tell(), "detections": [alert.to_json() for alert in self._observer.alerts]}

    def _classified(self, error: BaseException) -> Alert:
        package = (self._armed.profile.module if self._armed else "").partition(".")[0]
        code = UserCode(frozenset({"__main__", package}), tuple(self.folders))
        alert = exceptions.classify(error, self.step, code, _FLAGS)
        if isinstance(error, AssertionError) and alert.kind == "module":
            return Alert("test", "assertion", alert.step, alert.message, reason=alert.reason)
        return alert

    def _counts(self, found: Detection) -> bool:
        if self._within is not None and found.latency > self._within:
            return False
        if self._by is None:
            return found.kind != "framework"
        return self._by in (found.name, found.kind)

    def _told(self) -> str:
        assert self._armed is not None
        assert self._observer is not None
        who = self._by or "no detector"
        times = f"{self.activations} time{'s' * (self.activations != 1)}, first in step {self.first_step}"
        within = "" if self._within is None else f" within {self._within} step{'s' * (self._within != 1)}"
        verb = "did not detect it" if self._by else "detected it"
        lines = [f"{self._armed.fault} acted {times}, and {who} {verb}{within}."]
        for name, calls in self._observer.calls.items():
            own = [found for found in self.detections if found.name == name]
            seen = ", ".join(f"{hook} {count}x" for hook, count in calls.items()) or "none of its hooks called"
            lines.append(f"  {name} ({seen}): " + ("; ".join(map(_said, own)) or "detected nothing"))
        if self._by and self._by not in self._observer.calls and self._by[0].isupper():
            lines.append(f"  {self._by} is not among the Trainer's callbacks.")
        lines += [
            f"  {found.kind}: {_said(found)}" for found in self.detections if found.name not in self._observer.calls
        ]
        if false_alarms := [alert for alert in self._clean if self._by in (None, alert.name)]:
            lines.append(f"  It raises the same without the fault: {false_alarms[0].message}")
        mode = registry.load()[self.fault.mode].mode
        return "\n".join([*lines, f"  {mode.id}: {mode.summary}"])


def inject(fault: str | Fault, target: type | None = None) -> Injection:
    """Return a context that puts a fault into the module that the block trains.

    The block runs twice: first clean, in a copy of the process. Guards act as usual: what one raises leaves the block.

    Args:
        fault: The fault or its text, such as ``"loss.nan@step=3"``.
        target: The LightningModule class to break. By default the one that the block trains the most.

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


def assert_detected(
    fault: str | Fault,
    code: Callable[[], Any] | None = None,
    *,
    by: By = None,
    within: int | None = None,
    target: type | None = None,
) -> Detecting:
    """Assert that a fault is detected in the block of a ``with``, or in a call of ``code``.

    Exceptions of guards are recorded and the training continues, so that every guard can detect the fault. An exception
    that the fault causes does not leave the block. Detections that the clean run gives too don't count.

    Args:
        fault: The fault or its text, such as ``"loss.nan@step=3"``.
        code: A function without parameters to call in the block. Without it, use the result in a ``with``.
        by: The guard's class or its name, or a kind of detector (``"guard"``, ``"module"``, ``"test"``,
            ``"framework"``). By default any detector but an incidental crash of the framework.
        within: The most training steps from the first activation to the alert. By default any number.
        target: The LightningModule class to break. By default the one that the block trains the most.

    Returns:
        The context, whose ``detections`` lists the detections after the block.

    Raises:
        NotDetectedError: No detection meets ``by`` and ``within``; the message lists what each guard did.
        UsageError: The fault is unknown or not applicable to the module, or the block can't be copied or trains no
            module to break.
        RehearsalError: The block fails without the fault.
        NotActivatedError: The fault has never acted, at the end of the block.
    """
    __tracebackhide__ = True
    detecting = Detecting(fault, by, within, target)
    if code is not None:
        with detecting:
            code()
    return detecting


def _caller() -> str:
    """Return the file of the innermost frame that is not faultlab's own."""
    frame = inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "faultlab":
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


def _within_a_fixture() -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if pytest_internals.calls_a_fixture(frame):
            return True
        frame = frame.f_back
    return False


def _said(found: Detection) -> str:
    later = f"{found.latency} step{'s' * (found.latency != 1)} later"
    return f"in step {found.step}, {later}: {found.message.partition(chr(10))[0]}"

"""``assert_detected``: the assertion that a fault in a block of a test is detected."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from faultlab.campaign.verdict import detection
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection
from faultlab.core.fault import Fault
from faultlab.core.user_code import UserCode
from faultlab.detectors import exceptions
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.errors import FaultlabError
from faultlab.injection import registry
from faultlab.injection.clock import Clock
from faultlab.testing.dry_run import passed
from faultlab.testing.injecting import Injection, NotActivatedError

_FLAGS = ("detect_anomaly",)
By = type | str | None


class NotDetectedError(FaultlabError, AssertionError):
    """No detector detected the fault, or not the expected one, or too late."""


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
        passed(learnt)
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
            lines.append(f"  {self._by} is not among the guards of the training.")
        lines += [
            f"  {found.kind}: {_said(found)}" for found in self.detections if found.name not in self._observer.calls
        ]
        if false_alarms := [alert for alert in self._clean if self._by in (None, alert.name)]:
            lines.append(f"  It raises the same without the fault: {false_alarms[0].message}")
        mode = registry.load()[self.fault.mode].mode
        return "\n".join([*lines, f"  {mode.id}: {mode.summary}"])


def assert_detected(
    fault: str | Fault,
    code: Callable[[], Any] | None = None,
    *,
    by: By = None,
    within: int | None = None,
    target: type | None = None,
) -> Detecting:
    """Assert that a fault is detected in the block of a ``with``, or in a call of ``code``.

    Exceptions of guards are recorded and the training continues, so that every guard can detect the fault. A loop of
    your own ends at the first, though: `guards.watch` raises within its code. An exception that the fault causes does
    not leave the block. Detections that the clean run gives too don't count.

    Args:
        fault: The fault or its text, such as ``"loss.nan@step=3"``.
        code: A function without parameters to call in the block. Without it, use the result in a ``with``.
        by: The guard's class or its name, or a kind of detector (``"guard"``, ``"module"``, ``"test"``,
            ``"framework"``). By default any detector but an incidental crash of the framework.
        within: The most training steps from the first activation to the alert. By default any number.
        target: The class of the module to break; see `inject`.

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


def _said(found: Detection) -> str:
    later = f"{found.latency} step{'s' * (found.latency != 1)} later"
    return f"in step {found.step}, {later}: {found.message.partition(chr(10))[0]}"

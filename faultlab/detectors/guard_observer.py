"""Guards in observe mode: an exception or a stop request of a guard is recorded, and training continues.

A single run therefore fills a whole row of the kill matrix: no guard hides what another would have detected later.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from faultlab.core.alert import Alert, causes_of, safe_text
from faultlab.detectors.warnings_shown import Warnings
from faultlab.injection.clock import Clock
from faultlab.injection.watchers import watch

_Call = tuple[str, Any, Callable[..., Any]]
"""A guard's name, the guard, and its method."""

# The hooks where guards remove what they attached to the module.
_TIDYING = ("on_train_end", "on_fit_end", "on_exception", "teardown")


class Observer:
    """An observer of the hooks of guards.

    ``alerts`` has the first alert of each kind by each guard, ``calls`` the calls of their hooks, ``seconds`` the time
    that each guard took, and ``said`` the findings with their remedies by guard and check. ``hooks_of`` returns the
    names of the hooks that call a guard.
    """

    def __init__(self, clock: Clock, warnings: Warnings, hooks_of: Callable[[Any], Collection[str]]) -> None:
        self.alerts: list[Alert] = []
        self.said: dict[tuple[str, str], dict[str, str]] = {}
        self._of_interruption: list[Alert] = []
        self._noted = self.alerts
        self.calls: dict[str, Counter[str]] = {}
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._hooks_of = hooks_of
        self._warnings = warnings
        self._beside: dict[str, list[_Call]] = {}
        self._resting: frozenset[str] = frozenset()

    def interrupted(self) -> None:
        """Record later alerts separately until `goes_on`, because the harness ended the training."""
        self._noted = self._of_interruption

    def goes_on(self) -> None:
        """Record later alerts among the others again."""
        self._noted = self.alerts

    @property
    def of_interruption(self) -> list[Alert]:
        """The alerts that only the interruption caused."""
        return [one for one in self._of_interruption if not any(one.same_alert(known) for known in self.alerts)]

    def observe(self, guard: Any, name: str) -> Any:
        """Observe the hooks of a guard, or of each member of a set of guards by its own name, and return it."""
        members = getattr(guard, "guards", None)
        if isinstance(members, list):
            for member in members:
                self.observe(member, type(member).__name__)
            return guard
        tell_errors(guard)
        for hook in self._hooks_of(guard):
            method = getattr(guard, hook, None)
            if callable(method):
                watch(guard, hook, self._watched(method, guard, name, hook))
        return guard

    def beside(self, guards: Iterable[Any]) -> dict[str, Callable[..., None]]:
        """Return a function for each hook that calls guards outside of the training and observes them.

        Their warnings, and the effects of the fault on what they try out, do not count for the run.
        """
        self._beside = {}
        for guard in guards:
            tell_errors(guard)
            for hook in self._hooks_of(guard):
                call = (type(guard).__name__, guard, getattr(guard, hook))
                self._beside.setdefault(hook, []).append(call)
        return {hook: self._in_turn(hook, calls) for hook, calls in self._beside.items()}

    def rest(self, names: Collection[str]) -> None:
        """Stop calling the guards with these names, except to clean up, which does not count as their time."""
        self._resting = frozenset(names)
        for hook, calls in self._beside.items():
            if hook not in _TIDYING:
                calls[:] = [call for call in calls if call[0] not in names]

    def _in_turn(self, hook: str, asked: list[_Call]) -> Callable[..., None]:
        # Imported here because the first import of the guards decides which package's callbacks they are.
        from faultlab.guards.support.pace import OneHook

        clock, warnings, seconds, now = self._clock, self._warnings, self.seconds, time.perf_counter
        for name, _, _ in asked:
            seconds.setdefault(name, 0.0)
            self.calls.setdefault(name, Counter())
        counts = self.calls

        def in_turn(trainer: Any, *args: Any, **kwargs: Any) -> None:
            if not asked:
                return
            with clock.beside(), warnings.hidden(), OneHook():
                begun = now()
                for name, guard, method in asked:
                    counts[name][hook] += 1
                    stop_before = getattr(trainer, "should_stop", False)
                    try:
                        method(trainer, *args, **kwargs)
                    except (Exception, SystemExit, KeyboardInterrupt) as error:
                        self._note_raised(name, error)
                    if not stop_before:
                        self._note_stop(trainer, "should_stop", guard, name)
                    ended = now()
                    if name not in self._resting:
                        seconds[name] += ended - begun
                    begun = ended

        return in_turn

    def _watched(self, method: Callable[..., Any], guard: Any, name: str, hook: str) -> Callable[..., Any]:
        calls = self.calls.setdefault(name, Counter())

        @functools.wraps(method)
        def watched(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            calls[hook] += 1
            asking = _asking(trainer, args)
            stop_before = getattr(*asking, False)
            warned_before = len(self._warnings.seen)
            begun = time.perf_counter()
            try:
                return method(trainer, *args, **kwargs)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                self._note_raised(name, error)
                return None
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
                if not stop_before:
                    self._note_stop(*asking, guard, name)
                if len(self._warnings.seen) > warned_before:
                    # Warnings are only ever appended to those seen.
                    for key in [*self._warnings.seen][warned_before:]:
                        self._note(name, self._warnings.seen[key][1], "warned", key, self._warnings.causes.get(key, ""))

        return watched

    def _note_raised(self, name: str, error: BaseException) -> None:
        # A guard with several checks names the check that raised the alarm.
        reason = str(getattr(error, "check", type(error).__name__))
        if found := getattr(error, "found", ""):
            told = {"guard": name, "check": reason, "found": str(found), "remedy": str(getattr(error, "remedy", ""))}
            self.said.setdefault((name, reason), told)
        self._note(name, f"{type(error).__name__}: {safe_text(error)}", "raised", reason, causes_of(error))

    def _note_stop(self, asked: Any, flag: str, guard: Any, name: str) -> None:
        if getattr(asked, flag, False):
            setattr(asked, flag, False)
            self._note(name, *_why_stopped(guard))

    def _note(self, name: str, message: str, how: str, reason: str, causes: str = "") -> None:
        alert = Alert("guard", name, self._clock.step, message, how, reason, causes)
        if not any(alert.same_alert(known) for known in self._noted):
            self._noted.append(alert)


def tell_errors(guard: Any) -> None:
    """Make one of faultlab's guards raise its own errors, which it would only warn of, so that they are recorded.

    The guard also stops announcing alarms, because in a faulted run they are expected. It raises them at once, on its
    own rank, because training continues.
    """
    if hasattr(guard, "own_errors"):
        guard.own_errors = "raise"
        guard.announces = False
        guard.together = False


def _asking(trainer: Any, args: tuple[Any, ...]) -> tuple[Any, str]:
    """Return what a guard asks to stop the training, and its flag: the Trainer, or the control that a hook is given."""
    control = next((one for one in args if hasattr(one, "should_training_stop")), None)
    return (trainer, "should_stop") if control is None else (control, "should_training_stop")


def _why_stopped(guard: Any) -> tuple[str, str, str]:
    # Use the name, because the values of Lightning's enumeration are plain numbers.
    reason = str(getattr(getattr(guard, "stopping_reason", None), "name", "")).lower()
    message = getattr(guard, "stopping_reason_message", None)
    return (message or "asked the Trainer to stop"), "stopped", reason

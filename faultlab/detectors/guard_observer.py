"""Guards in observe mode: what a guard raises, or its wish to stop, is noted, and training goes on.

One run then fills the whole row of the kill matrix, since no guard hides what another would have seen later.
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

# Where guards take off what they have put on the module.
_TIDYING = ("on_train_end", "on_fit_end", "on_exception", "teardown")


class Observer:
    """Watches the hooks of each guard. ``alerts`` keeps a guard's first detection of each kind, ``calls`` its calls.

    ``seconds`` is how long each guard looked, ``said`` what was found, with its remedy, by guard and check.
    ``hooks_of`` gives the names of the hooks by which a guard is called.
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
        """Note apart what guards say from here on until `goes_on`: it is the harness that has ended the training."""
        self._noted = self._of_interruption

    def goes_on(self) -> None:
        """Note what guards say among their alerts again."""
        self._noted = self.alerts

    @property
    def of_interruption(self) -> list[Alert]:
        """What guards said of the interruption alone."""
        return [one for one in self._of_interruption if not any(one.same_alert(known) for known in self.alerts)]

    def observe(self, guard: Any, name: str) -> Any:
        """The same guard object with its hooks watched; of a set of guards each of them, by its own name."""
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
        """What calls, by hook, all of some guards that are no part of the training, each watched.

        What they warn of, and what a fault does to what they try out, is nothing that the run did.
        """
        self._beside = {}
        for guard in guards:
            tell_errors(guard)
            for hook in self._hooks_of(guard):
                call = (type(guard).__name__, guard, getattr(guard, hook))
                self._beside.setdefault(hook, []).append(call)
        return {hook: self._in_turn(hook, calls) for hook, calls in self._beside.items()}

    def rest(self, names: Collection[str]) -> None:
        """Call guards of these names no more, but to tidy up, which is no look that costs."""
        self._resting = frozenset(names)
        for hook, calls in self._beside.items():
            if hook not in _TIDYING:
                calls[:] = [call for call in calls if call[0] not in names]

    def _in_turn(self, hook: str, asked: list[_Call]) -> Callable[..., None]:
        # Not imported before: the first import of the guards settles whose callbacks they are.
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
                        self._note_stop(trainer, guard, name)
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
            stop_before = getattr(trainer, "should_stop", False)
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
                    self._note_stop(trainer, guard, name)
                if len(self._warnings.seen) > warned_before:
                    # What is seen is only ever added to, at the end.
                    for key in [*self._warnings.seen][warned_before:]:
                        self._note(name, self._warnings.seen[key][1], "warned", key, self._warnings.causes.get(key, ""))

        return watched

    def _note_raised(self, name: str, error: BaseException) -> None:
        # A guard of several checks, each of which may raise alarms of its own, says which it was.
        reason = str(getattr(error, "check", type(error).__name__))
        if found := getattr(error, "found", ""):
            told = {"guard": name, "check": reason, "found": str(found), "remedy": str(getattr(error, "remedy", ""))}
            self.said.setdefault((name, reason), told)
        self._note(name, f"{type(error).__name__}: {safe_text(error)}", "raised", reason, causes_of(error))

    def _note_stop(self, trainer: Any, guard: Any, name: str) -> None:
        if getattr(trainer, "should_stop", False):
            trainer.should_stop = False
            self._note(name, *_why_stopped(guard))

    def _note(self, name: str, message: str, how: str, reason: str, causes: str = "") -> None:
        alert = Alert("guard", name, self._clock.step, message, how, reason, causes)
        if not any(alert.same_alert(known) for known in self._noted):
            self._noted.append(alert)


def tell_errors(guard: Any) -> None:
    """What a guard of faultlab's would only warn of, its own failure, is to be known for what it is.

    Of what it finds in a broken run nobody is to be alerted.
    """
    if hasattr(guard, "own_errors"):
        guard.own_errors = "raise"
        guard.announces = False


def _why_stopped(guard: Any) -> tuple[str, str, str]:
    # The values of Lightning's enumeration are bare numbers.
    reason = str(getattr(getattr(guard, "stopping_reason", None), "name", "")).lower()
    message = getattr(guard, "stopping_reason_message", None)
    return (message or "asked the Trainer to stop"), "stopped", reason

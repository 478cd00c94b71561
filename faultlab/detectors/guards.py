"""Guards in observe mode: what a guard raises, or its wish to stop, is noted, and training goes on.

One run then fills the whole row of the kill matrix, since no guard hides what another would have seen later.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.detectors.notice import Notice, safe_text
from faultlab.detectors.warned import Warnings
from faultlab.seams.callbacks import own_hooks, watch
from faultlab.seams.clock import Clock


class Observer:
    """Watches the hooks of each guard. ``notices`` keeps a guard's first notice of each kind, ``calls`` its calls.

    ``seconds`` is how long each guard looked. With ``beside`` the guards are no part of the training: what they
    warn of, and what a fault does to what they try out, is nothing that the run did.
    """

    def __init__(self, clock: Clock, warnings: Warnings, beside: bool = False) -> None:
        self.notices: list[Notice] = []
        self.calls: dict[str, Counter[str]] = {}
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._warnings = warnings
        self._beside = beside

    def observe(self, guard: Any, name: str) -> Any:
        """The same guard object with its hooks watched; of a set of guards each of them, by its own name."""
        members = getattr(guard, "guards", None)
        if isinstance(members, list):
            for member in members:
                self.observe(member, type(member).__name__)
            return guard
        if hasattr(guard, "own_errors"):
            # What a guard of faultlab's would only warn of is to be known for what it is.
            guard.own_errors = "raise"
        for hook in own_hooks(guard):
            method = getattr(guard, hook, None)
            if callable(method):
                watch(guard, hook, self._watched(method, guard, name, hook))
        return guard

    def _watched(self, method: Callable[..., Any], guard: Any, name: str, hook: str) -> Callable[..., Any]:
        calls = self.calls.setdefault(name, Counter())

        @functools.wraps(method)
        def watched(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            calls[hook] += 1
            stop_before = getattr(trainer, "should_stop", False)
            warned_before = set(self._warnings.seen)
            begun = time.perf_counter()
            try:
                with self._apart():
                    return method(trainer, *args, **kwargs)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                # A guard of several checks, each of which may raise alarms of its own, says which it was.
                reason = str(getattr(error, "check", type(error).__name__))
                self._note(name, f"{type(error).__name__}: {safe_text(error)}", "raised", reason)
                return None
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
                if getattr(trainer, "should_stop", False) and not stop_before:
                    trainer.should_stop = False
                    self._note(name, *_why_stopped(guard))
                for key in set(self._warnings.seen) - warned_before:
                    self._note(name, self._warnings.seen[key][1], "warned", key)

        return watched

    @contextmanager
    def _apart(self) -> Iterator[None]:
        if not self._beside:
            yield
            return
        with self._clock.beside(), self._warnings.hidden():
            yield

    def _note(self, name: str, message: str, how: str, reason: str) -> None:
        notice = Notice("guard", name, self._clock.step, message, how, reason)
        if not any(notice.same_alarm(known) for known in self.notices):
            self.notices.append(notice)


def _why_stopped(guard: Any) -> tuple[str, str, str]:
    # The values of Lightning's enumeration are bare numbers.
    reason = str(getattr(getattr(guard, "stopping_reason", None), "name", "")).lower()
    message = getattr(guard, "stopping_reason_message", None)
    return (message or "asked the Trainer to stop"), "stopped", reason

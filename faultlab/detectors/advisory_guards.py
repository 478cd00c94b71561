"""The ready-made guards that observe every run in addition to the user's guards, without any effect on the verdict.

They show which guard would have detected a silent fault, when, and at what cost. This module runs in the victim; the
driver evaluates the results.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from faultlab.core.results import Advisory
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.injection.clock import Clock


class Advisers:
    """The ready-made guards of one order, and their alarms.

    Args:
        asked: The options of the order: the ``monitor`` and its ``mode``; ``without``, the guards to leave out;
            ``only``, the guards to use instead of all; ``known``, the file of known good runs; ``record``, whether to
            add this run to them; ``record_only``, whether to use no guard besides; and ``everywhere``, whether guards
            that the fault cannot trigger run as well.
        clock: The clock of the training.
        warnings: The collection of the run's warnings, which excludes those of the guards.
        hooks_of: Returns the names of the hooks that call a guard.
    """

    def __init__(
        self, asked: Mapping[str, Any], clock: Clock, warnings: Warnings, hooks_of: Callable[[Any], Collection[str]]
    ) -> None:
        self._asked = asked
        self._observer = Observer(clock, warnings, hooks_of)
        self._recorder: Any = None
        self._made: list[Any] = []
        self._checks: dict[str, Mapping[str, str]] = {}
        self._arguments: dict[str, dict[str, Any]] = {}
        self._judges: dict[str, str] = {}
        self._left: Collection[str] = ()

    def rest(self, left: Collection[str]) -> None:
        """Stop calling the guards that the fault cannot trigger, to save time.

        Args:
            left: The aspects that the fault cannot change, see `faultlab.catalogue.injection_points.InjectionPoint`.
        """
        self._left = () if self._asked.get("everywhere") else left
        self._observer.rest([name for name, judges in self._judges.items() if judges in self._left])

    def interrupted(self) -> None:
        """Record later alerts separately, see `faultlab.detectors.guard_observer.Observer.interrupted`."""
        self._observer.interrupted()

    def goes_on(self) -> None:
        """Record later alerts as usual, see `faultlab.detectors.guard_observer.Observer.goes_on`."""
        self._observer.goes_on()

    def hooks(self) -> dict[str, Callable[..., None]]:
        """Return a function for each hook that calls newly created guards; the alarms of earlier guards are kept."""
        from faultlab import guards

        made: list[Any] = []
        if self._asked.get("record"):
            self._recorder = guards.KnownGoodRecorder()
            made.append(self._recorder)
        if not self._asked.get("record_only"):
            monitor, mode = self._asked.get("monitor", ""), self._asked.get("mode", "min")
            profile, without = self._asked.get("known"), self._asked.get("without", ())
            ready = guards.all("full", monitor=monitor, mode=mode, profile=profile, leave_out=without).guards
            if only := self._asked.get("only"):
                ready = [guard for guard in ready if type(guard).__name__ in only]
            for guard in ready:
                arguments = (
                    {"profile": profile} if isinstance(guard, guards.KnownGood) else guard.arguments(monitor, mode)
                )
                left_out = {"leave_out": sorted(guard.leave_out)} if guard.leave_out else {}
                self._arguments[type(guard).__name__] = {**arguments, **left_out}
            made += ready
        for guard in made:
            self._checks[type(guard).__name__] = getattr(guard, "checks", {})
            self._judges[type(guard).__name__] = getattr(guard, "judges", "")
        self._made = made
        hooks = self._observer.beside(made)
        self.rest(self._left)
        return hooks

    def said(self) -> list[dict[str, str]]:
        """Return each alarm with its ``guard``, its ``check``, the finding (``found``) and the ``remedy``."""
        return list(self._observer.said.values())

    def advisory(self) -> Advisory:
        """Return the alarms, the guards that failed or never could check anything, and the seconds that each took."""
        alarms, broken, interruption = [], {}, self._observer.of_interruption
        for alert in [*self._observer.alerts, *interruption]:
            if alert.reason in self._checks.get(alert.name, ()):
                alarms.append(alert)
            elif alert.how == "raised":
                broken[alert.name] = alert.message
        recorder = type(self._recorder).__name__
        return Advisory(
            watching=not self._asked.get("record_only", False),
            alarms=tuple(alarms),
            of_interruption=tuple(interruption),
            broken=broken,
            idle={
                type(guard).__name__: guard.report()
                for guard in self._made
                if getattr(guard, "skipped", None) and not guard.looked and hasattr(guard, "report")
            },
            looks={type(guard).__name__: int(getattr(guard, "looked", 0)) for guard in self._made},
            arguments=self._arguments,
            seconds={name: seconds for name, seconds in self._observer.seconds.items() if name != recorder},
            summary=getattr(self._recorder, "summary", None),
        )

"""The ready-made guards beside the user's own: observed in every run, in a record that counts for no verdict.

They answer what the user will ask of a silent fault: which guard would have detected, when, and at what cost. In the
victim; what their answers are worth is for the driver to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from faultlab.core.results import Advisory
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.injection.clock import Clock


class Advisers:
    """The guards that an order asks for, and what they say.

    ``asked`` has the ``monitor`` and its ``mode``, the guards ``without`` which it is to be, the file of the
    ``known`` good runs, ``record``, whether to add this one to them, ``only``, the guards that it is to be if not all,
    and ``everywhere``, whether guards that a fault can't set off watch too.
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
        """Spare the run the guards whose alarms can come of nothing but what its fault leaves as it is.

        Args:
            left: What the fault's injection point leaves, see `faultlab.catalogue.injection_points.InjectionPoint`.
        """
        self._left = () if self._asked.get("everywhere") else left
        self._observer.rest([name for name, judges in self._judges.items() if judges in self._left])

    def interrupted(self) -> None:
        """See `faultlab.detectors.guard_observer.Observer`."""
        self._observer.interrupted()

    def goes_on(self) -> None:
        """See `faultlab.detectors.guard_observer.Observer`."""
        self._observer.goes_on()

    def hooks(self) -> dict[str, Callable[..., None]]:
        """What a training is to call, by hook, with fresh guards behind it. What earlier ones have said stays said."""
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
        """Each alarm with its ``guard``, ``check``, what was ``found`` and the ``remedy``."""
        return list(self._observer.said.values())

    def advisory(self) -> Advisory:
        """Their alarms, which of them failed themselves or never could look and why, and the seconds that each took."""
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
            arguments=self._arguments,
            seconds={name: seconds for name, seconds in self._observer.seconds.items() if name != recorder},
            summary=getattr(self._recorder, "summary", None),
        )

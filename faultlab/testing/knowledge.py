"""Plain data about a suite from its clean runs, which gives the tests that each fault reaches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.catalogue.requirements import inapplicable
from faultlab.core.fault import Fault, Trigger
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.stepped import Seen
from faultlab.testing.suite_targets import Use, richness

INSTALLED = "installed"
_STRUCTURED = ("uses", "profile", "trainings")
_QUICK = 0.001
Moment = tuple[str, int, int]
"""The stage, step and epoch of a moment when a fault at some injection point could have acted."""


@dataclass
class Unit:
    """A test, or a fixture of a wider scope, as the clean runs recorded it.

    ``target`` is the dotted path of the class to break in it, ``profile`` the target profile of its own training (None
    without one), ``steps`` the number of training steps, ``touches`` the moments at each injection point. ``fixtures``
    are the units that it depends on. ``fingerprint`` records the results of its trainings, and is empty if they differ
    from run to run. ``trainings`` are those by loops of its own, ``called`` the class paths and numbers of the modules
    that it calls (see `faultlab.frameworks.loops.layout.Layout`).
    """

    name: str
    seconds: float = 0.0
    uses: dict[str, Use] = field(default_factory=dict)
    target: str = ""
    profile: TargetProfile | None = None
    steps: int = 0
    touches: dict[str, list[Moment]] = field(default_factory=dict)
    fixtures: list[str] = field(default_factory=list)
    fingerprint: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    trainings: list[Seen] = field(default_factory=list)
    called: list[tuple[str, int]] = field(default_factory=list)

    def loops(self, target: str) -> list[tuple[Layout, bool]]:
        """Return the layouts of the trainings of the unit's own loops, and whether each trains the target.

        If none does, the modules of the target that the unit calls come first, each as a training without steps.
        """
        trained = [(seen.layout, seen.layout.root == target) for seen in self.trainings]
        if any(own for _, own in trained):
            return trained
        return [(Layout((found,)), True) for found in self.called if found[0] == target] + trained


@dataclass(frozen=True)
class Unreached:
    """The reason why a fault acts in no test: ``untested`` if tests could reach it, otherwise it can't happen."""

    why: str
    untested: bool = False


@dataclass
class Knowledge:
    """The units by name. ``profiles`` has for each target the most complete target profile."""

    units: dict[str, Unit] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    profiles: dict[str, TargetProfile] = field(default_factory=dict)

    def unit(self, name: str) -> Unit:
        return self.units.setdefault(name, Unit(name))

    @property
    def warnings(self) -> set[str]:
        """The warnings of the clean suite."""
        return {text for unit in self.units.values() for text in unit.warnings}

    def seconds(self, tests: Sequence[str]) -> float:
        """Return the seconds that these tests take in sequence on the clean code, with their shared fixtures."""
        needed = {name for test in tests for name in self.units[test].fixtures}
        return sum(self.units[name].seconds for name in (*tests, *needed))

    def quickest_first(self, tests: Iterable[str]) -> list[str]:
        """Return the tests, the quickest first; tests of similar duration keep their order, which is reproducible."""
        return sorted(tests, key=lambda test: math.frexp(max(self.seconds([test]), _QUICK))[1])

    def aim(self, targets: Iterable[str]) -> None:
        """Choose for each unit which target to break: the one that it trains the most."""
        self.targets = list(targets)
        for target in self.targets:
            found = [use.profile for unit in self.units.values() if (use := unit.uses.get(target)) and use.profile]
            if found:
                self.profiles[target] = max(found, key=richness)
        for unit in self.units.values():
            candidates = [name for name in self.targets if name in unit.uses and name in self.profiles]
            unit.target = max(candidates, key=lambda name: _weight(unit.uses[name]), default="")
            if unit.target:
                unit.profile, unit.steps = unit.uses[unit.target].profile, unit.uses[unit.target].steps
        for unit in self.units.values():
            # A test whose module comes from a fixture builds none itself.
            given = [self.units[name].target for name in unit.fixtures if name in self.units]
            unit.target = unit.target or next((target for target in given if target), "")

    def profile_of(self, unit: Unit) -> TargetProfile:
        """Return the unit's own target profile, or the most complete one of its target."""
        return unit.profile or self.profiles[unit.target]

    def complete(self, mode: FailureMode, fault: Fault, unit: Unit) -> Fault:
        """Return the fault with its trigger in this unit, which may be half-way through the unit's own training."""
        return mode.complete(fault, unit.steps)

    def together(self, test: str) -> Iterator[Unit]:
        """Yield the test's unit and those of the fixtures that it depends on."""
        unit = self.units[test]
        yield unit
        yield from (self.units[name] for name in unit.fixtures if name in self.units)

    def reached(self, mode: FailureMode, fault: Fault) -> tuple[list[str], Unreached | None]:
        """Return the tests that the fault can act in; if there are none, the reason too."""
        reached: list[str] = []
        reasons: list[Unreached] = []
        for test in [name for name in self.units if not is_fixture(name)]:
            verdicts = [self._in_unit(mode, fault, unit) for unit in self.together(test) if unit.target]
            if None in verdicts:
                reached.append(test)
            reasons += [verdict for verdict in verdicts if verdict is not None]
        if reached:
            return reached, None
        whole = [inapplicable(mode, profile) for profile in self.profiles.values()]
        if whole and all(whole):
            return [], Unreached(whole[0])
        return [], next((reason for reason in reasons if reason is not _UNTOUCHED), _UNTOUCHED)

    def _in_unit(self, mode: FailureMode, fault: Fault, unit: Unit) -> Unreached | None:
        """Return the reason why the fault can't act in the unit; None if it can."""
        moments = unit.touches.get(repr(mode.point), [])
        if not moments:
            return _UNTOUCHED
        if reason := inapplicable(mode, self.profile_of(unit)):
            return Unreached(reason)
        complete = self.complete(mode, fault, unit)
        trigger = complete.trigger or Trigger()
        stages = (trigger.stage,) if trigger.stage else mode.stages
        met = any(
            stage == INSTALLED or (stage in stages and trigger.fires(step, epoch, 0, fault.seed))
            for stage, step, epoch in moments
        )
        return None if met else _NOT_YET

    def to_json(self) -> dict[str, Any]:
        return {
            "units": {
                name: {
                    **{key: value for key, value in vars(unit).items() if key not in _STRUCTURED},
                    "trainings": [seen.to_json() for seen in unit.trainings],
                    "uses": {path: use.to_json() for path, use in unit.uses.items()},
                    "profile": unit.profile.to_json() if unit.profile else None,
                }
                for name, unit in self.units.items()
            },
            "targets": self.targets,
            "profiles": {name: profile.to_json() for name, profile in self.profiles.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Knowledge:
        units = {
            name: Unit(
                **{
                    **unit,
                    "uses": {path: Use.from_json(use) for path, use in unit["uses"].items()},
                    "profile": TargetProfile.from_json(unit["profile"]) if unit["profile"] else None,
                    "touches": {seam: [tuple(moment) for moment in found] for seam, found in unit["touches"].items()},
                    "trainings": [Seen.from_json(seen) for seen in unit["trainings"]],
                    "called": [tuple(found) for found in unit["called"]],
                }
            )
            for name, unit in data["units"].items()
        }
        profiles = {name: TargetProfile.from_json(profile) for name, profile in data["profiles"].items()}
        return cls(units, list(data["targets"]), profiles)


_UNTOUCHED = Unreached("no test reaches it: none executes its injection point", untested=True)
_NOT_YET = Unreached("no test trains that long or in that stage", untested=True)


def is_fixture(unit: str) -> bool:
    """Return whether a unit's name is a fixture's, which begins with its scope."""
    return " fixture " in unit and unit.partition(" fixture ")[0] in ("class", "module", "package", "session")


def _weight(use: Use) -> tuple[int, int]:
    return use.steps, use.built

"""Bisection of a scale: finds the smallest dose, or the steps, that each of several detectors detects, in few runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from faultlab.catalogue.failure_mode import Dose

_RESOLUTION = 1 / 32
_FIRST = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
_WIDE = 20.0


@dataclass(frozen=True)
class Scale:
    """A dose from harmless (at 0) to the worst that is tried (at 1); `Scale.of` defines the spacing.

    ``wide`` scales are logarithmic. ``low`` and ``high`` are the limits of the dose.
    """

    harmless: float
    worst: float
    wide: bool
    whole: bool = False
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of(cls, dose: Dose) -> Scale:
        """Return the scale of a numeric dose: linear if its default is of the order of its range, else logarithmic."""
        low = -math.inf if dose.low is None else dose.low
        high = math.inf if dose.high is None else dose.high
        default, whole = float(dose.default), isinstance(dose.default, int)
        harmless = dose.harmless if dose.harmless is not None else (dose.low or 0.0)
        if dose.harmless is None and 0 < harmless < default / _WIDE:
            # A tiny minimum only excludes zero: treat it as zero.
            harmless = 0.0
        if harmless == default:
            return cls(harmless, min(100 * default, high), True, whole, low, high)
        bound = high if default > harmless else low
        positive = harmless > 0 and default > 0
        if abs(bound - harmless) <= 4 * abs(default - harmless) and not (
            positive and _apart(harmless, default) > _WIDE
        ):
            return cls(harmless, bound, False, whole, low, high)
        far = default * (default / harmless) if positive else harmless + 100 * (default - harmless)
        worst = min(max(far, low), high)
        return cls(harmless, worst, not positive or (worst > 0 and _apart(harmless, worst) > _WIDE), whole, low, high)

    def value(self, part: float) -> float:
        """Return the dose at a place on the scale, 0 excluded."""
        if not self.wide:
            found = self.harmless + part * (self.worst - self.harmless)
        elif self.harmless > 0:
            found = self.harmless * (self.worst / self.harmless) ** part
        else:
            # A logarithmic scale can't begin at 0: it begins eight orders of magnitude below the top.
            found = self.harmless + (self.worst - self.harmless) * 10 ** (8 * (part - 1))
        found = min(max(found, self.low), self.high)
        return round(found) if self.whole else float(f"{found:.4g}")


def _apart(one: float, other: float) -> float:
    return max(one / other, other / one)


def first_parts() -> list[float]:
    """Return the places to try first."""
    return list(_FIRST)


def next_parts(detected: Mapping[float, Collection[str]], resolution: float = _RESOLUTION) -> list[float]:
    """Return the places to try next: for each detector halfway below the smallest that it detects, until fine enough.

    ``detected`` has the detectors by tried place.
    """
    wanted: set[float] = set()
    for detector in {name for names in detected.values() for name in names}:
        least = min(part for part, names in detected.items() if detector in names)
        below = max((part for part in detected if part < least), default=0.0)
        if least - below > resolution:
            wanted.add((least + below) / 2)
    return sorted(wanted)


def next_steps(detected: Mapping[int, Collection[str]]) -> list[int]:
    """Return the steps to try next for the first and last step at which each detector detects a one-step fault."""
    wanted: set[int] = set()
    tried = sorted(detected)
    for detector in {name for names in detected.values() for name in names}:
        steps = [step for step in tried if detector in detected[step]]
        wanted |= _between(max((s for s in tried if s < steps[0]), default=steps[0]), steps[0])
        wanted |= _between(steps[-1], min((s for s in tried if s > steps[-1]), default=steps[-1]))
    return sorted(wanted)


def _between(low: int, high: int) -> set[int]:
    return {(low + high) // 2} if high - low > 1 else set()

"""Comparison of two campaigns of one scenario by failure mode: regressions, improvements, modes no longer tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from faultlab.core.detection import Detection
from faultlab.core.partial import comparable
from faultlab.core.report import FaultResult, Report, Status

UNDETECTED = (Status.SILENT, Status.WARNED)
UNTRIED = (Status.NOT_APPLICABLE, Status.IGNORED)
OWN = ("guard", "test", "module")
"""The kinds of the user's own detectors. The others detect incidentally, or because a process died."""


@dataclass(frozen=True)
class Standing:
    """The result of a failure mode in one report: its status and its detectors, best first.

    A detector counts if it detected at least one of the mode's faults. ``latency`` is the longest of its detected
    faults, in steps; None if only tests detected, because their steps are not the training's. ``naming`` has the
    detectors that named the cause.
    """

    status: Status
    severity: str = ""
    detectors: tuple[str, ...] = ()
    latency: int | None = None
    naming: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A failure mode whose status changed; ``before`` or ``after`` is None if that report does not have it."""

    mode: str
    severity: str
    before: Status | None
    after: Status | None


@dataclass(frozen=True)
class Lost:
    """A detector that detected a failure mode before and no longer does.

    ``detector`` is written ``guard:Name``, ``test:file.py::test``, ``module``, ``framework`` or ``process``;
    ``instead`` is the best detector that still detects it, empty without one.
    """

    mode: str
    detector: str
    names_cause: bool
    instead: str = ""

    @property
    def owned(self) -> bool:
        """True for the user's guards, tests and checks; False for a crash that happened to end the run."""
        return self.detector.partition(":")[0] in OWN

    @property
    def by_luck(self) -> bool:
        """True if one of the user's detectors was lost and only an incidental crash still detects the mode."""
        return self.owned and bool(self.instead) and self.instead.partition(":")[0] not in OWN


@dataclass(frozen=True)
class Later:
    """A failure mode that is detected more steps after its first activation than before."""

    mode: str
    before: int
    after: int


@dataclass(frozen=True)
class Comparison:
    """The differences between two reports.

    ``changed`` has every failure mode whose status differs, including those that only one report has; ``newly_silent``,
    ``newly_detected``, ``gone`` and ``new`` are subsets of it.

    ``gone`` was tried before and no longer is: deselected, ignored, or not applicable. ``new`` is the reverse.
    ``ratios`` are the coverages and ``scores`` the scores of the source mutants, before and after.
    """

    scenario: str
    newly_silent: tuple[Change, ...] = ()
    newly_detected: tuple[Change, ...] = ()
    lost: tuple[Lost, ...] = ()
    gone: tuple[Change, ...] = ()
    new: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    later: tuple[Later, ...] = ()
    ratios: tuple[float | None, float | None] = (None, None)
    scores: tuple[float | None, float | None] = (None, None)

    def __bool__(self) -> bool:
        """Return True if there is any difference."""
        numbers = self.ratios[0] != self.ratios[1] or self.scores[0] != self.scores[1]
        return bool(self.changed or self.lost or self.later or numbers)

    @property
    def worse(self) -> bool:
        """True if a failure mode became silent or is no longer tried, or one of the user's detectors was lost."""
        return bool(self.newly_silent or self.gone or any(lost.owned for lost in self.lost))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(before: Report, after: Report) -> Comparison:
    """Return the differences from ``before`` to ``after``, two reports of the same scenario.

    If they are limited to different faults, only the faults of both are compared.
    """
    before, after = comparable(before, after)
    then, now = standings(before), standings(after)
    changed = changes(then, now)
    return Comparison(
        scenario=after.scenario,
        newly_silent=tuple(c for c in changed if c.after is Status.SILENT and c.before is not None),
        newly_detected=tuple(c for c in changed if c.after is Status.DETECTED and c.before in UNDETECTED),
        lost=lost(then, now),
        gone=tuple(c for c in changed if _tried(c.before) and not _tried(c.after)),
        new=tuple(c for c in changed if _tried(c.after) and not _tried(c.before)),
        changed=changed,
        later=_later(then, now),
        ratios=(before.ratio, after.ratio),
        scores=(_score(before), _score(after)),
    )


def standings(report: Report) -> dict[str, Standing]:
    """Return the standing of each failure mode in a report, by id."""
    faults: dict[str, list[FaultResult]] = {}
    for fault in report.faults:
        faults.setdefault(fault.mode, []).append(fault)
    return {mode: _standing(status, faults[mode]) for mode, status in report.by_mode().items()}


def latency_of(fault: FaultResult) -> int | None:
    """Return the steps from the first activation to the first detection; None if only tests detected, or none."""
    if fault.status is not Status.DETECTED:
        return None
    return min((found.latency for found in fault.detected_by if found.who[0] != "test"), default=None)


def changes(then: Mapping[str, Standing], now: Mapping[str, Standing]) -> tuple[Change, ...]:
    """Return every failure mode whose status differs, sorted by id."""
    found = []
    for mode in sorted({*then, *now}):
        before, after = then.get(mode), now.get(mode)
        if before is None or after is None or before.status is not after.status:
            severity = (after or before or Standing(Status.ERROR)).severity
            was, is_ = before.status if before else None, after.status if after else None
            found.append(Change(mode, severity, was, is_))
    return tuple(found)


def lost(then: Mapping[str, Standing], now: Mapping[str, Standing]) -> tuple[Lost, ...]:
    """Return the detections that were lost, of failure modes that are still tried."""
    return tuple(
        Lost(mode, detector, detector in before.naming, next(iter(after.detectors), ""))
        for mode, before in sorted(then.items())
        if (after := now.get(mode)) is not None and after.status not in UNTRIED
        for detector in before.detectors
        if detector not in after.detectors
    )


def written(found: Detection) -> str:
    """Return a detector as text: ``guard:Name``, ``test:file.py::test``, or the kind alone."""
    return ":".join(filter(None, found.who))


def _standing(status: Status, faults: list[FaultResult]) -> Standing:
    detected = [fault for fault in faults if fault.status is Status.DETECTED]
    found = sorted((one for fault in detected for one in fault.detected_by), key=lambda one: (one.worth, written(one)))
    latencies = [latency for fault in detected if (latency := latency_of(fault)) is not None]
    return Standing(
        status=status,
        severity=faults[0].severity,
        detectors=tuple(dict.fromkeys(map(written, found))),
        latency=max(latencies, default=None),
        naming=tuple(dict.fromkeys(written(one) for one in found if one.worth == 0)),
    )


def _tried(status: Status | None) -> bool:
    return status is not None and status not in UNTRIED


def _later(then: Mapping[str, Standing], now: Mapping[str, Standing]) -> tuple[Later, ...]:
    return tuple(
        Later(mode, before.latency, after.latency)
        for mode, before in sorted(then.items())
        if (after := now.get(mode)) is not None and before.latency is not None and after.latency is not None
        if after.latency > before.latency
    )


def _score(report: Report) -> float | None:
    return report.mutation.score if report.mutation is not None else None

"""The reasons why a report does not pass: a kind, which decides what follows, and a text, which does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class ReasonKind(str, Enum):
    """The subject of a reason. Kinds that begin with ``mutants_`` are about source mutants."""

    FAULT_UNPROVEN = "fault_unproven"
    """A fault got no verdict."""
    NOTHING_ACTIVATED = "nothing_activated"
    """No fault was activated."""
    CANARY = "canary"
    """A total break went undetected, or the clean run was not reproducible."""
    TESTS_UNPROVEN = "tests_unproven"
    """The user's tests judged nothing, or gave no verdict on a fault."""
    INTERRUPTED = "interrupted"
    """The campaign was stopped before its end."""
    UNFIT = "unfit"
    """The report does not cover everything that its gate is about."""
    UNREADABLE = "unreadable"
    """The report is missing, unreadable or not trustworthy."""
    COVERAGE = "coverage"
    """The coverage is lower than demanded."""
    SILENT = "silent"
    """More failure modes of a severity are silent than allowed."""
    LATENCY = "latency"
    """Failure modes are detected later than allowed."""
    FALSE_ALARMS = "false_alarms"
    """Clean runs raise more false alarms than allowed."""
    EXEMPTION = "exemption"
    """An exemption of the scenario is expired or stale."""
    BASELINE = "baseline"
    """The report regresses from the accepted baseline."""
    MUTANTS_UNPROVEN = "mutants_unproven"
    """A mutant got no verdict, or there is no mutant although a score is demanded."""
    MUTANTS_SCORE = "mutants_score"
    """The mutation score is lower than demanded."""
    MUTANTS_CANARY = "mutants_canary"
    """The clean run of the mutated code was not reproducible."""
    MUTANTS_INTERRUPTED = "mutants_interrupted"
    """Mutants were not judged."""
    MUTANTS_FALSE_ALARMS = "mutants_false_alarms"
    """The clean code raises more false alarms than allowed."""

    @property
    def proves_nothing(self) -> bool:
        """True if it means that nothing is known, rather than that something is wrong."""
        return self in _UNPROVEN

    @property
    def of_mutants(self) -> bool:
        """True if it is about source mutants."""
        return self in _OF_MUTANTS

    @property
    def witnessed(self) -> bool:
        """True if only the run itself could observe it: no verdict in the report shows it."""
        return self in _WITNESSED


_OF_MUTANTS = frozenset(kind for kind in ReasonKind if kind.value.startswith("mutants_"))
_UNPROVEN = frozenset(
    {
        ReasonKind.FAULT_UNPROVEN,
        ReasonKind.NOTHING_ACTIVATED,
        ReasonKind.CANARY,
        ReasonKind.TESTS_UNPROVEN,
        ReasonKind.INTERRUPTED,
        ReasonKind.UNFIT,
        ReasonKind.MUTANTS_UNPROVEN,
        ReasonKind.MUTANTS_CANARY,
        ReasonKind.MUTANTS_INTERRUPTED,
    }
)
_WITNESSED = frozenset(
    {
        ReasonKind.CANARY,
        ReasonKind.TESTS_UNPROVEN,
        ReasonKind.INTERRUPTED,
        ReasonKind.EXEMPTION,
        ReasonKind.BASELINE,
        ReasonKind.MUTANTS_CANARY,
        ReasonKind.MUTANTS_INTERRUPTED,
        ReasonKind.MUTANTS_FALSE_ALARMS,
    }
)


@dataclass(frozen=True)
class Reason:
    """One reason why a report does not pass."""

    kind: ReasonKind
    text: str

    @property
    def proves_nothing(self) -> bool:
        """True if it means that nothing is known, rather than that something is wrong."""
        return self.kind.proves_nothing


def texts(reasons: Iterable[Reason]) -> list[str]:
    """Return the texts of the reasons."""
    return [reason.text for reason in reasons]


def reasons_to_json(reasons: Sequence[Reason]) -> dict[str, list[str]]:
    """Return the reasons as a report has them: their texts and their kinds."""
    return {"reasons": texts(reasons), "kinds": [reason.kind.value for reason in reasons]}


def reasons_from_json(data: Mapping[str, Any]) -> list[Reason]:
    """Return the reasons that `reasons_to_json` wrote; raise ValueError if one has an unknown kind."""
    found, kinds = data["reasons"], data.get("kinds")
    if kinds is None:
        raise ValueError("its reasons have no kinds: it was written by another version of faultlab")
    if len(found) != len(kinds):
        raise ValueError(f"it has {len(found)} reasons but {len(kinds)} kinds")
    return [Reason(ReasonKind(kind), text) for kind, text in zip(kinds, found)]

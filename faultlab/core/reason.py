"""Why a report does not pass: of a kind, which decides what follows from it, and in words, which decide nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class ReasonKind(str, Enum):
    """What a reason is about. Kinds that begin with ``mutants_`` are about source mutants."""

    FAULT_UNPROVEN = "fault_unproven"
    """A fault came to no verdict."""
    NOTHING_ACTIVATED = "nothing_activated"
    """No fault was activated."""
    CANARY = "canary"
    """A total break went undetected, or the clean run did not repeat itself."""
    TESTS_UNPROVEN = "tests_unproven"
    """The user's tests judged nothing, or came to no verdict on a fault."""
    INTERRUPTED = "interrupted"
    """The campaign was stopped before its end."""
    UNFIT = "unfit"
    """The report is not of all that its gate is about."""
    UNREADABLE = "unreadable"
    """The report can't be read or trusted, or there is none."""
    COVERAGE = "coverage"
    """The coverage is less than demanded."""
    SILENT = "silent"
    """More failure modes of a severity are silent than allowed."""
    LATENCY = "latency"
    """Failure modes are detected later than allowed."""
    FALSE_ALARMS = "false_alarms"
    """Clean runs raise more false alarms than allowed."""
    EXEMPTION = "exemption"
    """An exemption of the scenario is expired or stale."""
    BASELINE = "baseline"
    """The report falls behind what was accepted."""
    MUTANTS_UNPROVEN = "mutants_unproven"
    """A mutant came to no verdict, or there is none where a score is demanded."""
    MUTANTS_SCORE = "mutants_score"
    """The mutation score is less than demanded."""
    MUTANTS_CANARY = "mutants_canary"
    """The clean run of the mutated code did not repeat itself."""
    MUTANTS_INTERRUPTED = "mutants_interrupted"
    """Mutants were left unjudged."""
    MUTANTS_FALSE_ALARMS = "mutants_false_alarms"
    """The clean code raises more false alarms than allowed."""

    @property
    def proves_nothing(self) -> bool:
        """Whether it says that nothing is known, rather than that something is wrong."""
        return self in _UNPROVEN

    @property
    def of_mutants(self) -> bool:
        """Whether it is about source mutants."""
        return self in _OF_MUTANTS

    @property
    def witnessed(self) -> bool:
        """Whether only the run itself could see it: it follows from no verdict in the report."""
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
    """One reason why something does not pass."""

    kind: ReasonKind
    text: str

    @property
    def proves_nothing(self) -> bool:
        """Whether it says that nothing is known, rather than that something is wrong."""
        return self.kind.proves_nothing


def texts(reasons: Iterable[Reason]) -> list[str]:
    """The reasons in words."""
    return [reason.text for reason in reasons]


def reasons_to_json(reasons: Sequence[Reason]) -> dict[str, list[str]]:
    """The reasons as a report has them: their words, and beside them their kinds."""
    return {"reasons": texts(reasons), "kinds": [reason.kind.value for reason in reasons]}


def reasons_from_json(data: Mapping[str, Any]) -> list[Reason]:
    """The reasons that `reasons_to_json` has written; raises ValueError where one is of no kind that is known."""
    said, kinds = data["reasons"], data.get("kinds")
    if kinds is None:
        raise ValueError("its reasons have no kinds, so another version of faultlab has written it")
    if len(said) != len(kinds):
        raise ValueError(f"it has {len(said)} reasons, of {len(kinds)} kinds")
    return [Reason(ReasonKind(kind), text) for kind, text in zip(kinds, said)]

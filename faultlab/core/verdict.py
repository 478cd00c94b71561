"""The order in which a verdict asks its questions, the same for a training, for tests and for source mutants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from faultlab.core.detection import Detection
from faultlab.core.report import Status


@dataclass(frozen=True)
class Answer:
    """A verdict, why, and who detected, the worthiest first."""

    status: Status
    reason: str = ""
    detected_by: Sequence[Detection] = ()


class Case(ABC):
    """What one judge knows of one fault.

    A question is asked only where those before it were answered by None, which is no. Any other answer is yes, with
    the reason that the verdict gives, which may be empty.
    """

    def exempted(self) -> str | None:
        """Whether the user has exempt it."""
        return None

    @abstractmethod
    def failed(self) -> str | None:
        """Whether the run was lost, or the injector failed, so that nothing is proven."""

    def died(self) -> Answer | None:
        """What follows from a process that ended before it said how the run went; None where none did."""
        return None

    @abstractmethod
    def never_acted(self) -> str | None:
        """Whether the fault never acted."""

    @abstractmethod
    def detected_by(self) -> Sequence[Detection]:
        """Who detected it, the worthiest first."""

    def aside(self) -> str:
        """What there is to say where somebody detected it."""
        return ""

    @abstractmethod
    def warned(self) -> str | None:
        """Whether there are warnings that the clean run does not have."""

    @abstractmethod
    def unchanged(self) -> str | None:
        """Whether the run is the clean one."""

    def silence(self) -> str:
        """What there is to say where nobody detected it."""
        return ""


def decide(case: Case) -> Answer:
    """The verdict: no proof, no verdict; no activation, no verdict; and then what is worth most."""
    if (why := case.exempted()) is not None:
        return Answer(Status.IGNORED, why)
    if (why := case.failed()) is not None:
        return Answer(Status.ERROR, why)
    if (end := case.died()) is not None:
        return end
    if (why := case.never_acted()) is not None:
        return Answer(Status.NOT_ACTIVATED, why)
    if found := case.detected_by():
        return Answer(Status.DETECTED, case.aside(), found)
    if (why := case.warned()) is not None:
        return Answer(Status.WARNED, why)
    if (why := case.unchanged()) is not None:
        return Answer(Status.NO_EFFECT, why)
    return Answer(Status.SILENT, case.silence())

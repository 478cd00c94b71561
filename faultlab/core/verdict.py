"""The questions of a verdict in their order, the same for trainings, tests and source mutants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from faultlab.core.detection import Detection
from faultlab.core.report import Status


@dataclass(frozen=True)
class Answer:
    """A verdict, its reason, and the detections, best first."""

    status: Status
    reason: str = ""
    detected_by: Sequence[Detection] = ()


class Case(ABC):
    """The knowledge of one judge about one fault.

    A question is asked only if those before it were answered None, which means no. Any other answer means yes and is
    the reason that the verdict gives; it may be empty.
    """

    def exempted(self) -> str | None:
        """Return a reason if the user exempts the fault."""
        return None

    @abstractmethod
    def failed(self) -> str | None:
        """Return a reason if the run was lost or the injector failed, so that nothing is proven."""

    def died(self) -> Answer | None:
        """Return the verdict on a process that died before it reported how the run went; None otherwise."""
        return None

    @abstractmethod
    def never_acted(self) -> str | None:
        """Return a reason if the fault never acted."""

    @abstractmethod
    def detected_by(self) -> Sequence[Detection]:
        """Return the detections, best first."""

    def aside(self) -> str:
        """Return a remark for a detected fault."""
        return ""

    @abstractmethod
    def warned(self) -> str | None:
        """Return a reason if there are warnings that the clean run does not have."""

    @abstractmethod
    def unchanged(self) -> str | None:
        """Return a reason if the run equals the clean one."""

    def silence(self) -> str:
        """Return a remark for an undetected fault."""
        return ""


def decide(case: Case) -> Answer:
    """Return the verdict: none without proof, none without activation, then the strongest finding."""
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

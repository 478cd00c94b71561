"""The questions of a verdict are asked in one order, and only until one is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from faultlab.core.detection import Detection
from faultlab.core.report import Status
from faultlab.core.verdict import Answer, Case, decide
from tests.support import detection

ORDER = ["exempted", "failed", "died", "never_acted", "detected_by", "warned", "unchanged"]
DEATH = Answer(Status.TIMEOUT, "late")
VERDICTS = {
    "exempted": Answer(Status.IGNORED, "exempted"),
    "failed": Answer(Status.ERROR, "failed"),
    "died": DEATH,
    "never_acted": Answer(Status.NOT_ACTIVATED, "never_acted"),
    "detected_by": Answer(Status.DETECTED, "aside", [detection()]),
    "warned": Answer(Status.WARNED, "warned"),
    "unchanged": Answer(Status.NO_EFFECT, "unchanged"),
}


@dataclass
class Told(Case):
    """Says yes to these questions, and keeps which were asked."""

    yes: Sequence[str]
    asked: list[str] = field(default_factory=list)

    def _said(self, question: str) -> str | None:
        self.asked.append(question)
        return question if question in self.yes else None

    def exempted(self) -> str | None:
        return self._said("exempted")

    def failed(self) -> str | None:
        return self._said("failed")

    def died(self) -> Answer | None:
        return DEATH if self._said("died") else None

    def never_acted(self) -> str | None:
        return self._said("never_acted")

    def detected_by(self) -> Sequence[Detection]:
        return [detection()] if self._said("detected_by") else []

    def aside(self) -> str:
        return "aside"

    def warned(self) -> str | None:
        return self._said("warned")

    def unchanged(self) -> str | None:
        return self._said("unchanged")

    def silence(self) -> str:
        return "nobody"


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_first_question_that_is_answered_decides_and_no_other_is_asked(place: int) -> None:
    case = Told(ORDER[place:])
    assert decide(case) == VERDICTS[ORDER[place]]
    assert case.asked == ORDER[: place + 1]


def test_what_nobody_has_anything_to_say_of_is_silent() -> None:
    assert decide(Told([])) == Answer(Status.SILENT, "nobody")


def test_a_yes_without_words_is_one() -> None:
    class Wordless(Told):
        def warned(self) -> str | None:
            return ""

    assert decide(Wordless(["unchanged"])) == Answer(Status.WARNED)

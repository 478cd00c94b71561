"""A case of a blind round: the thread, the true cause, the script, and what a right diagnosis says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faultlab.doctor.finding import OK, Finding


@dataclass(frozen=True)
class Case:
    """A script with ``{NAME}`` where the ill one differs from the remedied one; ``places`` has (ill, remedied) texts.

    ``truth`` is the cause that the thread states; without a thread, the author put it in. ``cause`` and ``remedy`` are
    patterns that one of the first two findings which are not ok has to match in its text, both. ``worse`` is the factor
    by which the ill score is worse.
    """

    name: str
    thread: str
    truth: str
    source: str
    places: Mapping[str, tuple[str, str]]
    cause: str
    remedy: str
    worse: float = 2.0

    def script(self, remedied: bool) -> str:
        text = self.source
        for name, pair in self.places.items():
            assert "{" + name + "}" in text, (self.name, name)
            text = text.replace("{" + name + "}", pair[remedied])
        return text

    def named_early(self, found: Sequence[Finding]) -> bool:
        """Return whether one of the first two findings that are not ok names the cause and its remedy."""
        return any(self._right(one) for one in [one for one in found if one.verdict != OK][:2])

    def _right(self, one: Finding) -> bool:
        told = re.search(self.cause, f"{one.what} {one.evidence}", re.DOTALL | re.IGNORECASE)
        return bool(told and re.search(self.remedy, one.remedy, re.DOTALL | re.IGNORECASE))

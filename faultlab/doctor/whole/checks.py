"""All findings on a whole script."""

from __future__ import annotations

from faultlab.doctor.finding import WRONG, Finding, Seen
from faultlab.doctor.whole.effects import EFFECTS
from faultlab.doctor.whole.stages import STAGES


def beyond(seen: Seen) -> tuple[list[Finding], list[Finding]]:
    """Return the findings on a whole script: those that are wrong, and those that only ask for attention."""
    found = [*EFFECTS.run(seen), *STAGES.run(seen)]
    return [one for one in found if one.verdict == WRONG], [one for one in found if one.verdict != WRONG]

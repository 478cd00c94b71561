"""What guards say that look on while the doctor examines a training: those that judge how it works, not how it goes."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, wrong

GUARDS = (
    "AccumulationDivided",
    "BackwardFaithful",
    "EvaluationRepeats",
    "FrozenStatistics",
    "MetricsRecomputed",
    "PaddingIgnored",
    "SamplesIndependent",
)
"""Of the others what they find is asked by the doctor's own checks, or shows in the course of a longer training."""

ADVICE = {"only": list(GUARDS), "everywhere": True}

ALARMS = Checks()


@ALARMS.check("guards are quiet")
def alarms(seen: Seen) -> Iterator[Finding]:
    """Each alarm of a guard that looks on, in a training that no exception has ended."""
    if seen.get("error"):
        return
    for alarm in seen.get("alarms", ()):
        yield wrong(alarm["found"], f"guards.{alarm['guard']}, {alarm['check']}", alarm["remedy"])

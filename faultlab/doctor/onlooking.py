"""Alarms of guards that watch while the doctor examines a training: those that judge its mechanics."""

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
"""The doctor's own checks cover the other guards' findings, or these need a longer training."""

ADVICE = {"only": list(GUARDS), "everywhere": True}

ALARMS = Checks()


@ALARMS.check("guards")
def alarms(seen: Seen) -> Iterator[Finding]:
    """Report each alarm of a watching guard, unless an exception ended the training."""
    if seen.get("error"):
        return
    for alarm in seen.get("alarms", ()):
        yield wrong(alarm["found"], f"guards.{alarm['guard']}, {alarm['check']}", alarm["remedy"])

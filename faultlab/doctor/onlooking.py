"""Alarms of guards that watch while the doctor examines a training: those that judge its mechanics."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, fine, wrong

GUARDS = (
    "AccumulationDivided",
    "BackwardFaithful",
    "EvaluationRepeats",
    "FrozenStatistics",
    "LabelsAligned",
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


@ALARMS.check("labels")
def unchecked(seen: Seen) -> Iterator[Finding]:
    """Report that the labels could not be compared with their inputs, and why."""
    if why := seen.get("idle_guards", {}).get("LabelsAligned"):
        yield fine("could not check the alignment of labels", why)

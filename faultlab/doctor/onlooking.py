"""Alarms of guards that watch while the doctor examines a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
"""Those that judge the mechanics of a training, however short it is, and what no check of the doctor's covers."""

# It judges the time that steps take, which is the examination's own.
ADVICE = {"without": ["Heartbeat"], "everywhere": True}

# What they see is what some cause does to losses, outputs, gradients and weights.
_SIGNS = (
    "Divergence",
    "Gradients",
    "LossContract",
    "LossFalls",
    "OutputsVary",
    "OverfitsBatch",
    "ParametersMove",
    "TrainValidationAlike",
)
_NOT_FINITE = "not-finite"
# What these find is there before the training makes anything of it.
_BEFORE = ("BatchSchema", "InitialWeights")

ALARMS, OTHERS, SIGNS = Checks(), Checks(), Checks()


@ALARMS.check("guards")
def alarms(seen: Seen) -> Iterator[Finding]:
    """Report each alarm of a watching guard, unless an exception ended the training."""
    yield from (_told(alarm) for alarm in _of(seen) if alarm["guard"] in GUARDS)


@ALARMS.check("labels")
def unchecked(seen: Seen) -> Iterator[Finding]:
    """Report that the labels could not be compared with their inputs, and why."""
    if why := seen.get("idle_guards", {}).get("LabelsAligned"):
        yield fine("could not check the alignment of labels", why)


@OTHERS.check("guards")
def others(seen: Seen) -> Iterator[Finding]:
    """Report the alarms of the other guards, which are of use where the doctor's own checks find nothing wrong."""
    yield from (_told(alarm) for alarm in _of(seen) if alarm["guard"] not in GUARDS and not _is_sign(alarm))


@SIGNS.check("guards")
def signs(seen: Seen) -> Iterator[Finding]:
    """Report the alarms that name no cause, which are of use where nothing else is found.

    Of those on numbers that are not finite the first is reported, which is where they begin.
    """
    found = [alarm for alarm in _of(seen) if alarm["guard"] not in GUARDS and _is_sign(alarm)]
    begun = [alarm for alarm in found if alarm["check"].endswith(_NOT_FINITE)]
    yield from (_told(alarm) for alarm in found if alarm not in begun[1:])


def _of(seen: Seen) -> list[Mapping[str, Any]]:
    return [] if seen.get("error") else list(seen.get("alarms", ()))


def _is_sign(alarm: Mapping[str, Any]) -> bool:
    if alarm["check"].endswith(_NOT_FINITE):
        return alarm["guard"] not in _BEFORE
    return alarm["guard"] in _SIGNS


def _told(alarm: Mapping[str, Any]) -> Finding:
    return wrong(alarm["found"], f"guards.{alarm['guard']}, {alarm['check']}", alarm["remedy"])

"""Findings about the spread of clean seeds: seeds that diverge, and a spread that no harm exceeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faultlab.campaign import spread
from faultlab.campaign.guard_worth import without
from faultlab.campaign.verdict import Twin
from faultlab.catalogue import index
from faultlab.core.fault import Fault, Trigger
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory

_NEVER_UPDATES = ("optimizer.drops-update", "setting.learning-rate-zero")


def outlying(twin: Twin, seeds: Mapping[int, Trajectory], own: int) -> list[dict[str, str]]:
    """Return a finding for clean seeds whose metric diverges from the others'."""
    values = {seed: found for seed, run in seeds.items() if (found := twin.value(run)) is not None}
    kept = spread.typical(list(values.values()))
    if not kept:
        return []
    away = {seed: value for seed, value in values.items() if value not in kept}
    between = f"{min(kept):.4g} and {max(kept):.4g}"
    told = ", ".join(f"seed {seed} ends with {twin.metric} {value:.4g}" for seed, value in away.items())
    what = f"the clean training diverges on some seeds: {told}, others between {between}; the spread ignores them"
    if own in away:
        what += "; faults are compared with such a run, so their harm is unknown"
    remedy = "Look at the learning rate, gradient clipping and initialization, or choose another seed with --seed."
    return [{"kind": "outlier", "what": what, "evidence": "", "remedy": remedy}] if away else []


def blind(twin: Twin) -> list[dict[str, str]]:
    """Return a finding if a run that never updates its weights ends as clean runs do, so that harm can't be seen."""
    if not twin.blind or twin.never_updated is None:
        return []
    values = spread.typical([found for run in twin.others if (found := twin.value(run)) is not None])
    own, idle = twin.value(twin.trajectory), twin.value(twin.never_updated)
    values = [*values, own] if own is not None else values
    what = (
        f"this training is too short to measure harm: clean runs end with {twin.metric} {min(values):.4g} to "
        f"{max(values):.4g}, and a run that never updates its weights with {idle:.4g}"
    )
    remedy = "Train for longer: increase the epochs or the batches of the scenario."
    return [{"kind": "blind", "what": what, "evidence": "", "remedy": remedy}]


def never_updating(profile: TargetProfile, guards: Sequence[str]) -> tuple[Fault, ...]:
    """Return faults after which no weight is updated and no guard of the user's stops the run; none if none applies."""
    modes = index.modes()
    for id in _NEVER_UPDATES:
        point = modes[id].point
        if point.hooked(profile) and not point.inapplicable(profile):
            return Fault(id, trigger=Trigger("always")), *(without(one) for one in guards if one in profile.callbacks)
    return ()

"""The plan: applicable failure modes times their triggers, recorded before the first faulted run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from faultlab.catalogue import failure_mode, index
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.catalogue.requirements import inapplicable
from faultlab.config.fault_patterns import requested
from faultlab.config.selection import Selection
from faultlab.core.fault import Fault, Trigger
from faultlab.core.orders import Place, Planned
from faultlab.core.report import Status, dump
from faultlab.core.shard import Shard
from faultlab.core.target_profile import TargetProfile

EACH = "each"
"""A dose ``callback`` of this value means each of the user's callbacks in turn."""


def make(selection: Selection, profile: TargetProfile, modes: Mapping[str, FailureMode]) -> list[Planned]:
    """Return the plan in the order of failure modes' ids; raise UsageError if a requested fault is impossible."""
    planned: dict[str, Planned] = {}
    for fault in [one for asked in selected(selection, modes) for one in each(asked, modes, profile)]:
        mode = modes[fault.mode]
        complete = mode.complete(fault, profile.steps)
        exemption = _exemption(selection, fault.mode)
        if reason := inapplicable(mode, profile):
            entry = Planned(complete, status=Status.NOT_APPLICABLE.value, reason=reason)
        elif exemption:
            entry = Planned(complete, status=Status.IGNORED.value, reason=exemption)
        elif late := _never_met(complete.trigger or Trigger(), profile):
            entry = Planned(complete, status=Status.NOT_ACTIVATED.value, reason=late)
        else:
            entry = Planned(complete, at=place(complete, mode, profile))
        planned.setdefault(entry.id, entry)
    return list(planned.values())


def _never_met(trigger: Trigger, profile: TargetProfile) -> str:
    """Return the reason why the clean run never meets a trigger, or an empty string."""
    if trigger.rank is not None and trigger.rank >= profile.ranks:
        ranks = "one rank" if profile.ranks == 1 else f"ranks 0 to {profile.ranks - 1}"
        return f"the training has {ranks}"
    number = int(trigger.number or 0)
    if trigger.kind == "step" and number >= profile.steps:
        return f"the clean run has only {profile.steps} steps"
    if trigger.kind == "update" and profile.first_step_of(number) is None:
        return f"the clean run has only {profile.updates} optimizer steps"
    return ""


def place(fault: Fault, mode: FailureMode, profile: TargetProfile) -> Place:
    """Return the latest place that still lets the fault begin on time."""
    trigger = fault.trigger or Trigger()
    stages = (trigger.stage,) if trigger.stage else mode.stages
    if mode.point.attach_at == "construct" or mode.judged_by == "reload":
        return "construct"
    if mode.point.attach_at != "step" or stages != ("train",):
        return "fit"
    if trigger.kind == "step" and trigger.number is not None and trigger.number < profile.steps:
        return int(trigger.number)
    if trigger.kind == "update" and trigger.number is not None:
        return profile.first_step_of(int(trigger.number)) or 0
    if trigger.kind == "epoch" and trigger.number:
        # One step earlier, since hooks of the epoch's start run before its first step.
        return max(0, min(int(trigger.number) * profile.steps_per_epoch, profile.steps) - 1)
    return 0


def share(planned: Sequence[Planned], shard: Shard) -> list[Planned]:
    """Return a share of a plan in its order; expensive faults are spread evenly over the shares."""
    if shard.of == 1:
        return list(planned)

    def cost(entry: Planned) -> tuple[bool, bool, bool]:
        mode = index.modes()[entry.fault.mode]
        return not entry.status, mode.judged_by == "reload", mode.hangs

    mine = {entry.id for entry in shard.share(sorted(planned, key=cost))}
    return [entry for entry in planned if entry.id in mine]


def digest(planned: Sequence[Planned], *circumstances: Any) -> str:
    """Return a digest that lets `--resume` recognize the same plan under the same circumstances."""
    text = dump([[entry.to_json() for entry in planned], _plain(circumstances)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def selected(selection: Selection, registry: Collection[str]) -> list[Fault]:
    """Return the requested faults of the failure modes with these ids."""
    skipped = {id for pattern in selection.skip for id in failure_mode.matching(pattern, registry)}
    faults: list[Fault] = []
    for entry in selection.select:
        faults += [fault for fault in requested(entry, registry) if fault.mode not in skipped]
    return [timed for fault in sorted(faults, key=lambda fault: fault.mode) for timed in _timed(fault, selection)]


def _timed(fault: Fault, selection: Selection) -> list[Fault]:
    if fault.trigger is not None:
        return [fault]
    for pattern, triggers in (selection.when or {}).items():
        if failure_mode.matching(pattern, [fault.mode]):
            return [fault.with_trigger(Trigger.parse(text)) for text in triggers]
    return [fault]


def each(fault: Fault, modes: Mapping[str, FailureMode], profile: TargetProfile) -> list[Fault]:
    """Return the fault, or one for each of the user's callbacks if its dose requests that."""
    called = [name for name in profile.callbacks if name in profile.callback_hooks]
    if modes[fault.mode].amounts(fault).get("callback") != EACH or not called:
        return [fault]
    return [Fault(fault.mode, {**fault.dose, "callback": name}, fault.trigger, fault.seed) for name in called]


def _exemption(selection: Selection, mode: str) -> str:
    return next((reason for pattern, reason in selection.exemptions if failure_mode.matching(pattern, [mode])), "")


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    return data if isinstance(data, (int, float, bool, type(None))) else str(data)

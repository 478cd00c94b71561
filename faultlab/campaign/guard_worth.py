"""The worth of each of the user's guards: the failure modes and the faults that only this guard detects.

The latter is verified by a run: with the guard disabled, no other detector reports the fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from faultlab.core.fault import Fault, Trigger
from faultlab.core.report import FaultResult, Status


@dataclass
class Worth:
    """The failure modes that a guard of the user's detects, and the faults that only this guard detects.

    ``proven`` is True if the first of these faults went undetected with the guard disabled, None if it was not tried.
    """

    guard: str
    modes: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    proven: bool | None = None


def worth_of(guards: Iterable[str], results: Mapping[str, FaultResult]) -> list[Worth]:
    """Return the worth of each guard, which is given by its name in the kill matrix."""
    found = {name: Worth(name) for name in guards}
    for result in results.values():
        if result.status is not Status.DETECTED:
            continue
        detected = {seen.name for seen in result.detected_by if seen.kind == "guard"}
        for name in detected & found.keys():
            found[name].modes.append(result.mode)
        if len({seen.who for seen in result.detected_by}) == 1 and (only := next(iter(detected), "")) in found:
            found[only].alone.append(result.id)
    for worth in found.values():
        worth.modes = sorted(set(worth.modes))
        worth.alone.sort()
    return list(found.values())


def without(guard: str) -> Fault:
    """Return the fault that disables a guard."""
    return Fault("callback.disabled", {"callback": guard}, Trigger("always"))

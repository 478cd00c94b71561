"""What each of the user's guards is worth: which catch nothing, and which alone catch something.

What observation says of the latter is tried out: with the guard disabled, nobody detects the fault any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from faultlab.core.fault import Fault, Trigger
from faultlab.core.report import FaultResult, Status


@dataclass
class Worth:
    """What one of the user's guards detects: failure modes, and the faults that nobody else does.

    ``proven`` says whether the first of these went undetected with the guard disabled; None where that was not tried.
    """

    guard: str
    modes: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    proven: bool | None = None


def worth_of(guards: Iterable[str], results: Mapping[str, FaultResult]) -> list[Worth]:
    """Every guard's worth, by its name in the kill matrix."""
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
    """The fault that takes a guard out of a training."""
    return Fault("callback.disabled", {"callback": guard}, Trigger("always"))

"""faultlab's guards without an end of the training at the first alarm, so that each shows what it detects by itself."""

from collections.abc import Callable
from typing import Any

from benchmarks.realbugs.detectors.known_good import train_with
from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run

NAME = "guards, full, none stops"


@detector(
    NAME,
    "faultlab",
    'The guards of the level "full" with `action="warn"`: the training continues after an alarm, so that each guard '
    "shows what it detects.",
    package="faultlab",
    module="faultlab.guards",
)
def watch(run: Run) -> None:
    from faultlab import guards

    watching = guards.all("full", action="warn")
    for guard in watching:
        guard.alarm = _told(run, guard)
    train_with(run, watching)


def _told(run: Run, guard: Any) -> Callable[..., None]:
    warn, known = guard.alarm, set(guard.leave_out)

    def alarm(check: str, found: str, remedy: str, causes: str = "") -> None:
        if check not in known:
            known.add(check)
            name = type(guard).__name__
            run.alert(f"{name}.{check}", f"{name}: {found}. {remedy} {guard.causes.get(check, '')}, {causes}")
        warn(check, found, remedy, causes)

    return alarm

"""faultlab's guards as callbacks of Lightning's Trainer."""

from typing import Literal

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


def _watch(run: Run, level: Literal["cheap", "full"]) -> None:
    from faultlab import guards

    try:
        run.train([guards.all(level)])
    except guards.Alarm as alarm:
        run.alert(f"{alarm.guard}.{alarm.check}", f"{alarm} {alarm.causes}")


@detector(
    "guards.all(cheap)",
    "faultlab",
    '`Trainer(callbacks=[guards.all("cheap")])`; the first alarm ends the training.',
    frameworks=("lightning",),
    package="faultlab",
    module="faultlab.guards",
)
def cheap(run: Run) -> None:
    _watch(run, "cheap")


@detector(
    "guards.all(full)",
    "faultlab",
    '`Trainer(callbacks=[guards.all("full")])`; the first alarm ends the training.',
    frameworks=("lightning",),
    package="faultlab",
    module="faultlab.guards",
)
def full(run: Run) -> None:
    _watch(run, "full")

"""faultlab's guards around a loop, and in the Trainer of transformers."""

from typing import Literal

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


def _watch(run: Run, level: Literal["cheap", "full"]) -> None:
    from faultlab import guards

    parts = run.parts
    try:
        if run.framework == "transformers":
            run.train([guards.hf(level=level)])
            return
        with guards.watch(parts.model, parts.optimizer, loader=parts.loader, validation=parts.validation, level=level):
            run.train()
    except guards.Alarm as alarm:
        run.alert(f"{alarm.guard}.{alarm.check}", f"{alarm} {alarm.causes}")


@detector(
    "guards.watch(cheap)",
    "faultlab",
    "`with guards.watch(model, optimizer, loader=loader, validation=validation):` around the loop, and "
    "`Trainer(callbacks=[guards.hf()])` with transformers; the first alarm ends the training.",
    frameworks=("torch", "transformers"),
    package="faultlab",
    module="faultlab.guards",
)
def cheap(run: Run) -> None:
    _watch(run, "cheap")


@detector(
    "guards.watch(full)",
    "faultlab",
    'The same with `level="full"`.',
    frameworks=("torch", "transformers"),
    package="faultlab",
    module="faultlab.guards",
)
def full(run: Run) -> None:
    _watch(run, "full")

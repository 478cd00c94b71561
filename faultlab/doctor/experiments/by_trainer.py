"""Experiments on a training by a Trainer. The driver's side."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.core.results import RunResult
from faultlab.doctor.experiments import trainings, trials
from faultlab.doctor.experiments.course import Case, Course
from faultlab.doctor.finding import Finding, Seen
from faultlab.doctor.onlooking import OTHERS, SIGNS
from faultlab.engines import Engine

_BY = "faultlab.doctor.experiments.trial:examine"


def explained(engine: Engine, run: RunResult, seen: Seen, timeout: float, seed: int, steps: int) -> list[Finding]:
    """Return what guards notice in a training in which no check finds anything wrong, or else what experiments show."""
    return OTHERS.run(seen) or [*_tried(engine, run, seen, timeout, seed, steps)] or SIGNS.run(seen)


def _tried(engine: Engine, run: RunResult, seen: Seen, timeout: float, seed: int, steps: int) -> Iterator[Finding]:
    """Train again with one part changed at a time, if the training learns little, to see which one is to blame."""
    if seen.get("error") or not seen.get("automatic", True) or seen.get("learns_later"):
        return
    ends = {name: values[-1][1] for name, values in run.trajectory.metrics.items() if values}
    given = (seen.get("terms") or {}).get("inputs") or {}
    inputs = {"floating": True, "finite": True, "constant": False, "mean": given.get("mean"),
              "deviation": given.get("spread")}  # fmt: skip
    case = Case(
        Course(seen["losses"], _losses(ends), plain=seen["plain"]["losses"]),
        guess=seen.get("guess"),
        plain_guess=seen["plain"]["guess"],
        rate=max((float(rate) for _, rate in seen.get("rates", ())), default=0.0),
        present=[*seen["present"], *(["clipping"] if seen.get("arguments", {}).get("gradient_clip_val") else [])],
        settings=seen["settings"],
        inputs=inputs if given else {},
        loaded=bool(seen.get("weights_loaded")),
        several=len((seen.get("parameters") or {}).get("optimizers", ())) > 1,
        cut=bool(seen.get("cut")),
    )
    yield from trainings.examined(case, trials.train(engine, _BY, timeout, seed, steps, _course))


def _course(seen: Seen) -> Course:
    return Course(seen["losses"], _losses(seen["evaluated"]), seen["acted"], seen["plain"]["losses"])


def _losses(values: dict[str, float]) -> dict[str, float]:
    """Return the validation's losses among logged values."""
    return {name: value for name, value in values.items() if "loss" in name.lower() and "val" in name.lower()}

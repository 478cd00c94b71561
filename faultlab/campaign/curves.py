"""The curves that the report draws: loss and metric of faulted runs beside the clean run's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.campaign.verdict import Twin
from faultlab.core.report import SCHEMA, dump
from faultlab.core.results import Outcome
from faultlab.core.thinning import thinned
from faultlab.core.trajectory import Series, Trajectory


def curve(trajectory: Trajectory, metric: str) -> dict[str, Series]:
    """The training loss and the logged metric by step, each thinned to 160 points with its extremes kept."""
    return {"loss": thinned(trajectory.losses), "metric": thinned(trajectory.metrics.get(metric, []))}


def of_outcome(outcome: Outcome, metric: str) -> dict[str, Series] | None:
    """The curve of a faulted run; None where its process never said how the training went."""
    return None if outcome.trajectory is None else curve(outcome.trajectory, metric)


def pieces(twin: Twin, reloaded: Twin | None, faults: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """The text of curves.json, with a line a fault, so that whoever reads it need not hold all of them at once.

    ``reloaded`` is the twin of the runs that go on from their checkpoints, ``faults`` the curves by fault, in order.
    """
    clean = {"run": curve(twin.trajectory, twin.metric)}
    if reloaded is not None:
        clean["reload"] = curve(reloaded.trajectory, twin.metric)
    yield dump({"schema": SCHEMA, "metric": twin.metric, "clean": clean})[:-1] + ', "faults": {'
    between = "\n"
    for id, course in faults:
        yield f"{between}{dump(id)}: {dump(course)}"
        between = ",\n"
    yield "\n}}\n"

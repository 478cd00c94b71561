"""The curves of the report: loss and metric of faulted runs and of the clean run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from faultlab.campaign.verdict import Twin
from faultlab.core.report import SCHEMA, dump
from faultlab.core.results import Outcome
from faultlab.core.thinning import thinned
from faultlab.core.trajectory import Series, Trajectory


def curve(trajectory: Trajectory, metric: str) -> dict[str, Series]:
    """Return the training loss and the logged metric by step, each thinned to 160 points that keep its extremes."""
    return {"loss": thinned(trajectory.losses), "metric": thinned(trajectory.metrics.get(metric, []))}


def of_outcome(outcome: Outcome, metric: str) -> dict[str, Series] | None:
    """Return the curve of a faulted run; None if its process did not report one."""
    return None if outcome.trajectory is None else curve(outcome.trajectory, metric)


def pieces(twin: Twin, reloaded: Twin | None, faults: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yield the text of curves.json: a line for each fault, so that readers can load one at a time.

    ``reloaded`` is the twin of runs that continue from their checkpoints, ``faults`` has the curves by fault, in order.
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

"""Charts of a training: the faulted run's curve over its clean twin's, drawn as points for inline SVG."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.report import FaultResult
from faultlab.core.run_folder import CURVES_FILE
from faultlab.core.thinning import thinned

WIDTH, HEIGHT = 400, 120
_LINES_FOLLOW = '"faults": {\n'
_POINTS = 60
_MARKS = 24
_LOGARITHMIC = 50  # from this ratio of highest to lowest on, a linear axis shows the highest alone
_FEWEST_STEPS = 3
"""A metric of fewer steps has no curve to look at; its last value is in the words beside the chart."""
Point = tuple[int, float | None]


class Chart(NamedTuple):
    """A chart of ``WIDTH`` by ``HEIGHT`` units: polylines in SVG's notation, and the labels of its axes.

    ``broken`` are the places of values that are not finite, ``acts`` is the place of the fault's first activation.
    ``marks`` are points of the faulted run with their values in words, to be shown on hover.
    """

    name: str
    clean: list[str]
    faulty: list[str]
    broken: list[int]
    acts: int | None
    low: str
    high: str
    last: int
    logarithmic: bool
    words: str
    marks: list[tuple[int, int, str]]


class Curves:
    """The curves of a run folder; empty if the file is missing or invalid.

    Campaigns write one line for each fault. Of such a file only the curves that are asked for are held in memory.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / CURVES_FILE
        self._places: dict[str, int] = {}
        self._faults: Mapping[str, Any] = {}
        try:
            with self._file.open("rb") as lines:
                head = next(lines, b"").decode("utf-8")
                if head.endswith(_LINES_FOLLOW):
                    self._places = _places(lines, len(head.encode("utf-8")))
                    found = json.loads(head.rstrip() + "}}")
                else:
                    found = json.loads(head + lines.read().decode("utf-8"))
                    self._faults = found["faults"]
            self._clean: Mapping[str, Any] = found["clean"]
            self._metric = str(found["metric"])
        except (OSError, ValueError, KeyError, TypeError):
            self._clean, self._faults, self._places, self._metric = {}, {}, {}, ""

    def of(self, fault: FaultResult, mode: FailureMode | None) -> list[Chart]:
        """Return the charts of a fault: the training loss, and the metric of harm if it is logged often enough."""
        try:
            clean, curves = self._pair(fault, mode)
            names = {"loss": "training loss", "metric": self._metric}
            charts = [
                _chart(name, clean.get(key, []), curves.get(key, []), fault.first_step)
                for key, name in names.items()
                if key == "loss" or len({step for step, _ in curves.get(key, [])}) >= _FEWEST_STEPS
            ]
            return [chart for chart in charts if chart is not None]
        except (OSError, TypeError, ValueError, AttributeError):
            return []

    def losses(self, fault: FaultResult, mode: FailureMode | None) -> tuple[Sequence[Point], Sequence[Point]]:
        """Return the training losses of the clean and of the faulted run; empty where there are none."""
        try:
            clean, curves = self._pair(fault, mode)
            return clean.get("loss", []), curves.get("loss", [])
        except (OSError, TypeError, ValueError, AttributeError):
            return [], []

    def _pair(self, fault: FaultResult, mode: FailureMode | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        twin = "reload" if mode is not None and mode.judged_by == "reload" else "run"
        curves, clean = self._course(fault.id), self._clean.get(twin) or self._clean.get("run")
        return (clean, curves) if curves and clean else ({}, {})

    def _course(self, fault: str) -> Any:
        if fault not in self._places:
            return self._faults.get(fault)
        with self._file.open("rb") as lines:
            lines.seek(self._places[fault])
            _, course = _entry(lines.readline())
        return course


def _places(lines: Iterable[bytes], begin: int) -> dict[str, int]:
    """Return the offset of each fault's line; raise ValueError if one can't be read."""
    found: dict[str, int] = {}
    for line in lines:
        if line.startswith(b'"'):
            fault, _ = json.JSONDecoder().raw_decode(line.decode("utf-8"))
            found[fault] = begin
        begin += len(line)
    return found


def _entry(line: bytes) -> tuple[str, Any]:
    ((fault, course),) = json.loads(b"{" + line.rstrip(b",\n") + b"}").items()
    return fault, course


def _chart(name: str, clean: Sequence[Point], faulty: Sequence[Point], acts: int | None) -> Chart | None:
    if len(clean) + len(faulty) < 2:
        return None
    steps = [step for step, _ in (*clean, *faulty)]
    first, last = min(0, *steps), max(1, *steps)
    values = [value for _, value in (*clean, *faulty) if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    logarithmic = low > 0 and high / low >= _LOGARITHMIC
    scale = math.log if logarithmic else float if math.isfinite(high - low) else _quarter
    bottom, span = scale(low), (scale(high) - scale(low)) or 1.0

    def across(step: int) -> int:
        return round((step - first) / (last - first) * WIDTH)

    def down(value: float) -> int:
        return round(HEIGHT * (1 - (scale(value) - bottom) / span))

    def lines(series: Sequence[Point]) -> list[str]:
        drawn: list[list[str]] = [[]]
        for step, value in _thinned(series, _POINTS):
            if math.isnan(value):
                drawn.append([])
            else:
                drawn[-1].append(f"{across(step)},{down(value)}")
        # A single point is drawn as a line to itself, whose round ends show it.
        return [" ".join(points if len(points) > 1 else points * 2) for points in drawn if points]

    beside = dict(clean)
    marks = [
        (across(step), down(value), _said(step, value, beside))
        for step, value in _thinned(faulty, _MARKS)
        if not math.isnan(value)
    ]
    return Chart(
        name,
        lines(clean),
        lines(faulty),
        list(dict.fromkeys(across(step) for step, value in faulty if value is None))[:_POINTS],
        across(acts) if acts is not None and first <= acts <= last else None,
        f"{low:.3g}",
        f"{high:.3g}",
        last,
        logarithmic,
        _words(clean, faulty),
        marks,
    )


def _thinned(series: Sequence[Point], longest: int) -> Sequence[tuple[int, float]]:
    return thinned([(step, math.nan if value is None else value) for step, value in series], longest)


def _quarter(value: float) -> float:
    # Numbers so large that their difference is infinite.
    return value / 4


def _said(step: int, value: float, clean: Mapping[int, float | None]) -> str:
    return f"step {step}: {value:.4g}" + (f", clean {_number(clean[step])}" if step in clean else "")


def _words(clean: Sequence[Point], faulty: Sequence[Point]) -> str:
    """Return the chart in words, for readers who can't see it."""
    if list(map(tuple, clean)) == list(map(tuple, faulty)):
        return "the same as in the clean run"
    if not faulty:
        return "not recorded in the faulted run"
    ends = [_number(series[-1][1]) if series else "nothing" for series in (faulty, clean)]
    cut = f", and ends in step {faulty[-1][0]}" if clean and faulty[-1][0] < clean[-1][0] else ""
    return f"from {_number(faulty[0][1])} to {ends[0]}, in the clean run to {ends[1]}{cut}"


def _number(value: float | None) -> str:
    return "not a finite number" if value is None else f"{value:.4g}"

"""Charts of a training: the faulted run's course over its clean twin's, drawn as points for inline SVG."""

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
_POINTS = 80
_LOGARITHMIC = 50  # from this ratio of highest to lowest on, a linear axis shows the highest alone
Point = tuple[int, float | None]


class Chart(NamedTuple):
    """A chart of ``WIDTH`` by ``HEIGHT`` units: polylines as SVG has their points, and what stands at its axes.

    ``broken`` are the places of values that are no finite numbers, ``acts`` is where the fault first does something.
    """

    name: str
    clean: list[str]
    faulty: list[str]
    broken: list[float]
    acts: float | None
    low: str
    high: str
    last: int
    logarithmic: bool
    words: str


class Curves:
    """The curves of a run folder, if it has any; a file that can't be read draws nothing.

    Of a file with a line a fault, as campaigns write it, only the curves that are asked for are held in memory.
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
        """The charts of a fault: the training loss, and the metric that harm is measured by where it is logged."""
        try:
            return self._of(fault, "reload" if mode is not None and mode.judged_by == "reload" else "run")
        except (OSError, TypeError, ValueError, AttributeError):
            return []

    def _course(self, fault: str) -> Any:
        if fault not in self._places:
            return self._faults.get(fault)
        with self._file.open("rb") as lines:
            lines.seek(self._places[fault])
            _, course = _entry(lines.readline())
        return course

    def _of(self, fault: FaultResult, twin: str) -> list[Chart]:
        curves, clean = self._course(fault.id), self._clean.get(twin) or self._clean.get("run")
        if not curves or not clean:
            return []
        names = {"loss": "training loss", "metric": self._metric}
        charts = [
            _chart(name, clean.get(key, []), curves.get(key, []), fault.first_step) for key, name in names.items()
        ]
        return [chart for chart in charts if chart is not None]


def _places(lines: Iterable[bytes], begin: int) -> dict[str, int]:
    """Where the line of each fault begins; raises ValueError where one is none."""
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

    def across(step: int) -> float:
        return round((step - first) / (last - first) * WIDTH, 1)

    def lines(series: Sequence[Point]) -> list[str]:
        drawn: list[list[str]] = [[]]
        for step, value in thinned([(step, math.nan if value is None else value) for step, value in series], _POINTS):
            if math.isnan(value):
                drawn.append([])
            else:
                drawn[-1].append(f"{across(step):g},{round(HEIGHT * (1 - (scale(value) - bottom) / span), 1):g}")
        # A point alone is no line; drawn to itself, its round ends show it.
        return [" ".join(points if len(points) > 1 else points * 2) for points in drawn if points]

    return Chart(
        name,
        lines(clean),
        lines(faulty),
        [across(step) for step, value in faulty if value is None][:_POINTS],
        across(acts) if acts is not None and first <= acts <= last else None,
        f"{low:.3g}",
        f"{high:.3g}",
        last,
        logarithmic,
        _words(clean, faulty),
    )


def _quarter(value: float) -> float:
    # Of numbers so large that their distance is none.
    return value / 4


def _words(clean: Sequence[Point], faulty: Sequence[Point]) -> str:
    """What the chart shows, for those who can't see it."""
    if list(map(tuple, clean)) == list(map(tuple, faulty)):
        return "the same as in the clean run"
    if not faulty:
        return "nothing of it in the faulted run"
    ends = [_number(series[-1][1]) if series else "nothing" for series in (faulty, clean)]
    cut = f", and ends in step {faulty[-1][0]}" if clean and faulty[-1][0] < clean[-1][0] else ""
    return f"from {_number(faulty[0][1])} to {ends[0]}, in the clean run to {ends[1]}{cut}"


def _number(value: float | None) -> str:
    return "not a finite number" if value is None else f"{value:.4g}"

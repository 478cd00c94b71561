"""Silent harmful faults whose training loss looks like the clean run's: curves that look right and are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

from faultlab.report.html.charts import Curves, Point
from faultlab.report.html.lessons import Lesson

MOST = 6
_CLOSE = 0.12
"""The mean distance of the two loss curves, as a share of the clean curve's range, up to which they look alike."""
_CLOSE_AT_THE_END = 0.25
"""The same for the last quarter of the curves: a fault that acts late is far from the clean run only there."""
_FEWEST_POINTS = 5


def lookalikes(harmful: Sequence[Lesson], curves: Curves) -> list[Lesson]:
    """Return up to ``MOST`` harmful lessons whose loss curve is plausible, the worst of each family first.

    A family or a symptom has one, so that the curves shown do not resemble each other; any places left are filled up.
    """
    close = [drawn for one in harmful if _close(one, curves) and _shows(drawn := _drawn(one, curves))]
    # A metric that is not finite is easy to see; a wrong number is not.
    close.sort(key=lambda one: bool(one.symptom))
    first: dict[str, Lesson] = {}
    for one in close:
        first.setdefault(one.symptom or one.worst.family, one)
    rest = [one for one in close if one not in first.values() and not one.symptom]
    return [*first.values(), *rest][:MOST]


def _drawn(lesson: Lesson, curves: Curves) -> Lesson:
    shown = lesson.faults[0]._replace(charts=curves.of(lesson.worst, lesson.described))
    return lesson._replace(faults=[shown, *lesson.faults[1:]])


def _shows(lesson: Lesson) -> bool:
    """Return whether a chart shows anything of the fault: in some reports only the number beside it is wrong."""
    return any(chart.clean != chart.faulty or chart.broken for chart in lesson.faults[0].charts)


def _close(lesson: Lesson, curves: Curves) -> bool:
    clean, faulty = curves.losses(lesson.worst, lesson.described)
    gap, at_the_end = distance(clean, faulty), distance(clean, faulty, last=0.25)
    return gap is not None and at_the_end is not None and gap <= _CLOSE and at_the_end <= _CLOSE_AT_THE_END


def distance(clean: Sequence[Point], faulty: Sequence[Point], last: float = 1.0) -> float | None:
    """Return the mean distance of two curves as a share of the clean one's range; None if they can't be compared.

    ``last`` is the share of the points, counted from the end, over which the mean is taken.
    A curve that ends earlier, or holds a value that is not finite, does not look right.
    """
    pairs = [(one, other) for (_, one), (_, other) in zip(clean, faulty)]
    values = [one for one, _ in pairs if one is not None]
    if len(clean) != len(faulty) or len(pairs) < _FEWEST_POINTS or any(None in pair for pair in pairs):
        return None
    span = max(values) - min(values)
    tail = pairs[-math.ceil(last * len(pairs)) :]
    return sum(abs(one - other) for one, other in tail) / len(tail) / span if span else None  # type: ignore[operator]

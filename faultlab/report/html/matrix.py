"""The kill matrix of the page: failure modes against detectors, colored by worth and latency."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from faultlab.core.report import FaultResult, Report, Status
from faultlab.report.overview import family_rows

COUNTED = (Status.DETECTED, Status.WARNED, Status.SILENT)
WIDEST = 40
"""The most detectors that have a column of their own; any others share one."""
MOST_CELLS = 4000
"""The most cells that a browser draws quickly; in a larger matrix empty neighbors share one."""
_KINDS = ("guard", "test", "module", "framework", "process")
_LEVELS = (0, 4, 16)


class Cell(NamedTuple):
    """The detection of one failure mode by one detector; ``some`` counts its faults if not all were detected.

    ``level`` ranges from 0 (in the same step) to 3 (after more than 16 steps).
    """

    worth: int
    latency: str
    some: str
    level: int


class Row(NamedTuple):
    """A failure mode; ``who`` has the numbers of its detectors in their order.

    ``spans`` has the cells as they are drawn, with the number of columns of each.
    """

    mode: str
    severity: str
    status: str
    cells: list[Cell | None]
    who: list[int]
    spans: list[tuple[Cell | None, int]]


def matrix(report: Report) -> dict[str, Any]:
    """Return the detectors as (kind, name), and for each family its counts in words and its rows."""
    modes = report.by_mode()
    faults: dict[str, list[FaultResult]] = {}
    caught: Counter[tuple[str, str]] = Counter()
    for fault in report.faults:
        if fault.status in COUNTED:
            faults.setdefault(fault.mode, []).append(fault)
            caught.update({found.who for found in fault.detected_by})
    detectors = sorted(caught, key=lambda who: (-caught[who], who))
    columns = sorted(
        detectors[:WIDEST], key=lambda who: (_KINDS.index(who[0]) if who[0] in _KINDS else 9, -caught[who], who[1])
    )
    others = detectors[WIDEST:]
    numbers = {who: number for number, who in enumerate([*columns, *others])}
    families: dict[str, list[Row]] = {}
    groups = [[who] for who in columns] + ([others] if others else [])
    joined = len(faults) * len(groups) > MOST_CELLS
    for mode, some in sorted(faults.items()):
        cells = [_cell(some, group) for group in groups]
        who = sorted({numbers[found.who] for fault in some for found in fault.detected_by})
        families.setdefault(mode.partition(".")[0], []).append(
            Row(mode, some[0].severity, modes[mode].value, cells, who, _spans(cells, joined))
        )
    counts = {family: zip(COUNTED, found) for family, found in family_rows(report)}
    words = {family: ", ".join(f"{n} {status.value}" for status, n in found if n) for family, found in counts.items()}
    return {
        "columns": columns,
        "others": len(others),
        "numbers": numbers,
        "families": [(family, words[family], rows) for family, rows in families.items()],
    }


def _spans(cells: list[Cell | None], joined: bool) -> list[tuple[Cell | None, int]]:
    """Return each cell with its number of columns: one, or with ``joined`` all adjacent empty ones."""
    spans: list[tuple[Cell | None, int]] = []
    for cell in cells:
        if joined and cell is None and spans and spans[-1][0] is None:
            spans[-1] = (None, spans[-1][1] + 1)
        else:
            spans.append((cell, 1))
    return spans


def _cell(faults: list[FaultResult], detectors: list[tuple[str, str]]) -> Cell | None:
    found = [[d for d in fault.detected_by if d.who in detectors] for fault in faults]
    firsts = [min(some, key=lambda d: (d.worth, d.latency)) for some in found if some]
    if not firsts:
        return None
    low, high = min(d.latency for d in firsts), max(d.latency for d in firsts)
    latency = f"+{low}" if low == high else f"+{low}\N{EN DASH}{high}"
    part = "" if len(firsts) == len(faults) else f"{len(firsts)} of {len(faults)}"
    return Cell(max(d.worth for d in firsts), latency, part, sum(high > level for level in _LEVELS))

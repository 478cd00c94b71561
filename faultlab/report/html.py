"""index.html: a page that a person reads, self-contained, offline, under a strict Content-Security-Policy.

The templates lay out; what they show is put together here. Every string in a report may come from a victim, so every
one passes through `harmless` and Jinja's escaping, and no template marks one as safe.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from faultlab.report import mutant_section
from faultlab.report.bars import Part, segments
from faultlab.report.mutants import mutation_line
from faultlab.report.overview import cost, family_rows, known_modes, one_line
from faultlab.report.text import address, blocks, harmless, short
from faultlab.report.watching import sweeps, watched
from faultlab.results import FaultResult, Report, Status

WORTHS = (
    "noticed by a guard or test that names the cause",
    "noticed by a guard or test for another reason",
    "noticed by the module's own check",
    "fell over by luck, in the framework or the process",
)
_COUNTED = (Status.NOTICED, Status.WARNED, Status.SILENT)
_KINDS = ("guard", "test", "module", "framework", "process")


class Lesson(NamedTuple):
    """A silent failure mode with the faults of it that nobody noticed."""

    mode: str
    described: Any
    faults: list[FaultResult]


class Cell(NamedTuple):
    """What one detector made of one failure mode; ``some`` says of how many of its faults, where not of all."""

    worth: int
    latency: str
    some: str


def write(report: Report, out: Path) -> Path:
    """Writes the scenario's page, refreshes the index of all scenarios under ``out``, and returns the page's path."""
    page = out / report.scenario / "index.html"
    _write_page(report, page, index="../index.html")
    write_whole(out / "index.html", _rendered("index.jinja", **_overview(out)))
    return page


def write_alone(report: Report, page: Path) -> None:
    """Writes a page that belongs to no index."""
    _write_page(report, page, index="")


def _write_page(report: Report, page: Path, index: str) -> None:
    more = {
        "tests": _tests(page.with_name("tests.json")),
        "guards": watched(page.parent, report.faults),
        "sweeps": sweeps(page.parent),
    }
    write_whole(page, _rendered("page.jinja", **_content(report), **more, index=index))


def parts(report: Report) -> list[Part]:
    """The coverage ratio taken apart, best first. A failure mode counts as what the worst of its faults came to."""
    modes = report.by_mode()
    worst: dict[str, int] = {}
    for fault in report.faults:
        if fault.status is modes[fault.mode] and fault.status in _COUNTED:
            worst[fault.mode] = max(worst.get(fault.mode, 0), _rank(fault))
    counts = Counter(worst.values())
    words = [*WORTHS, "only warned", "silent and harmless, as far as measured", "silent and harmful"]
    return segments((f"part{rank}", words[rank], counts[rank]) for rank in (0, 1, 2, 3, 4, 6, 5))


def _rank(fault: FaultResult) -> int:
    if fault.status is Status.NOTICED:
        return fault.best.worth if fault.best else len(WORTHS) - 1
    return 4 if fault.status is Status.WARNED else 6 if _harmful(fault) else 5


def _harmful(fault: FaultResult) -> bool:
    return fault.harm is not None and fault.harm.harmful


def _content(report: Report) -> dict[str, Any]:
    described, undescribed = known_modes()
    lessons: dict[str, Lesson] = {}
    for fault in report.silent():
        lessons.setdefault(fault.mode, Lesson(fault.mode, described.get(fault.mode), [])).faults.append(fault)
    noticed: list[list[FaultResult]] = [[] for _ in WORTHS]
    for fault in report.faults:
        if fault.status is Status.NOTICED:
            noticed[_rank(fault)].append(fault)
    modes = Counter(report.by_mode().values())
    return {
        "report": report,
        "broken": bool(report.faults) or report.mutation is None,
        "mutants": mutant_section.content(report),
        "alarms": [alarm for alarm in report.baseline.false_alarms if alarm["kind"] != "test"],
        "left_out": [alarm for alarm in report.baseline.false_alarms if alarm["kind"] == "test"],
        "summary": one_line(report),
        "parts": parts(report),
        "counted": sum(modes[status] for status in _COUNTED),
        "others": [(status.value, modes[status]) for status in Status if modes[status] and status not in _COUNTED],
        "harmful": [lesson for lesson in lessons.values() if _harmful(lesson.faults[0])],
        "harmless": [lesson for lesson in lessons.values() if not _harmful(lesson.faults[0])],
        "undescribed": undescribed,
        "matrix": _matrix(report),
        "noticed": list(zip(WORTHS, noticed)),
        "statuses": {status.value: [fault for fault in report.faults if fault.status is status] for status in Status},
    }


def _matrix(report: Report) -> dict[str, Any]:
    """The detectors as (kind, name), and by family the counts in words and a row of cells a failure mode."""
    modes = report.by_mode()
    faults: dict[str, list[FaultResult]] = {}
    caught: Counter[tuple[str, str]] = Counter()
    for fault in report.faults:
        if fault.status in _COUNTED:
            faults.setdefault(fault.mode, []).append(fault)
            caught.update({found.who for found in fault.noticed_by})
    detectors = sorted(caught, key=lambda who: (_KINDS.index(who[0]) if who[0] in _KINDS else 9, -caught[who], who[1]))
    families: dict[str, list[Any]] = {}
    for mode, some in sorted(faults.items()):
        cells = [_cell(some, detector) for detector in detectors]
        families.setdefault(mode.partition(".")[0], []).append((mode, modes[mode].value, cells))
    counts = {family: zip(_COUNTED, numbers) for family, numbers in family_rows(report)}
    words = {family: ", ".join(f"{n} {status.value}" for status, n in found if n) for family, found in counts.items()}
    return {"detectors": detectors, "families": [(family, words[family], rows) for family, rows in families.items()]}


def _cell(faults: list[FaultResult], detector: tuple[str, str]) -> Cell | None:
    found = [[d for d in fault.noticed_by if d.who == detector] for fault in faults]
    firsts = [min(some, key=lambda d: (d.worth, d.latency)) for some in found if some]
    if not firsts:
        return None
    low, high = min(d.latency for d in firsts), max(d.latency for d in firsts)
    latency = f"+{low}" if low == high else f"+{low}\N{EN DASH}{high}"
    part = "" if len(firsts) == len(faults) else f"{len(firsts)} of {len(faults)}"
    return Cell(max(d.worth for d in firsts), latency, part)


def _tests(file: Path) -> dict[str, Any] | None:
    """What the tests are worth, the best first, with the faults that each alone notices; None without any."""
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    alone: dict[str, list[str]] = {}
    for fault, test in found["killed_once"].items():
        alone.setdefault(test, []).append(fault)
    tests = sorted(found["tests"], key=lambda entry: -entry["kills"])
    return {
        "rows": [(entry["test"], entry["seconds"], entry["kills"], alone.get(entry["test"], [])) for entry in tests],
        "left_out": found["left_out"],
    }


def _overview(out: Path) -> dict[str, Any]:
    rows, unreadable = [], []
    for file in sorted(out.glob("*/report.json")):
        try:
            report = Report.read(file)
            link = f"{quote(os.fsencode(file.parent.name))}/index.html" if (file.parent / "index.html").exists() else ""
            rows.append(_row(link, report))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            unreadable.append((file.parent.name, f"{type(error).__name__}: {error}"))
    return {"rows": rows, "unreadable": unreadable, "mutated": any(row["mutants"] for row in rows)}


def _row(link: str, report: Report) -> dict[str, Any]:
    mutants = mutant_section.parts(report) if report.mutation is not None else []
    return {
        "page": link,
        "report": report,
        "alarms": len(alarms := [alarm for alarm in report.baseline.false_alarms if alarm["kind"] != "test"]),
        "left_out": len(report.baseline.false_alarms) - len(alarms),
        "summary": one_line(report),
        "parts": parts(report),
        "mutants": mutants,
        "mutant_summary": mutation_line(report),
    }


def _rendered(template: str, **content: Any) -> str:
    environment = _environment()
    style = environment.get_template("style.jinja").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The one thing marked as safe: faultlab's own style sheet, whose hash the policy names.
    return environment.get_template(template).render(style=Markup(style), style_hash=digest, **content)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: harmless(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(address=address, blocks=blocks, cost=cost, harmless=harmless, short=short)
    return environment


def write_whole(file: Path, text: str) -> None:
    """Whole or not at all: a reader never sees half a page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)

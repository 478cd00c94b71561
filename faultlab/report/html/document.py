"""index.html: a page for people, self-contained, offline, under a strict Content-Security-Policy.

The templates have the layout, this module their content. Every string in a report may come from a victim, so every
one passes through `harmless` and Jinja's escaping, and no template marks one as safe.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from faultlab.core import atomic_write
from faultlab.core.partial import limits, title
from faultlab.core.report import INCONCLUSIVE, FaultResult, Report, Status, severity_order
from faultlab.core.run_folder import REPORT_FILE, TESTS_FILE, folder_of, reports_below
from faultlab.report.differences import since_before
from faultlab.report.html import mutant_section
from faultlab.report.html.bars import Part, segments
from faultlab.report.html.charts import Curves
from faultlab.report.html.folds import folds
from faultlab.report.html.guard_sections import sweeps, watched
from faultlab.report.html.latency import distribution
from faultlab.report.html.lessons import Lesson, by_symptom, choices, framework_of, lessons, replay_options
from faultlab.report.html.lookalikes import lookalikes
from faultlab.report.html.matrix import COUNTED, matrix
from faultlab.report.mutants import mutation_line
from faultlab.report.overview import WORTHS, cost, known_modes, one_line, target_lines
from faultlab.report.remedy import arguments, remedy
from faultlab.report.text import address, blocks, clipped, harmless, percent

FILTERED = (*COUNTED, *INCONCLUSIVE)
LESSON = "lesson.html"


_BLANK = re.compile(r">\n\s*\n<")
_UNKNOWN = 7
"""The rank of a silent fault whose harm is unknown."""
_WORDS = (
    *WORTHS,
    "only warned",
    "silent and harmless, as far as measured",
    "silent and harmful",
    "silent, their harm unknown",
)


class Live(NamedTuple):
    """The progress of a running campaign."""

    judged: int
    planned: int


def write(report: Report, out: Path) -> Path:
    """Write the scenario's page and the index of all scenarios under ``out``; return the page's path."""
    page = folder_of(out, report.scenario, bool(report.selection)) / "index.html"
    _write_page(report, page, index="../../index.html" if report.selection else "../index.html")
    atomic_write.write(out / "index.html", _rendered("index.jinja", script=_script(), **_overview(out)))
    return page


def write_lesson(report: Report, folder: Path) -> Path:
    """Write the page that lets the reader guess each fault before it is shown; return its path."""
    page = folder / LESSON
    found = lessons(report, known_modes()[0], Curves(folder), arguments(folder), every_chart=True)
    framework, versions = framework_of(report), report.versions
    others = {
        id: mode
        for id, mode in known_modes()[0].items()
        if mode.effect.on(framework, versions.get(framework, "")) == "silent"
    }
    cases = [{"lesson": one, "choices": choices(one, others)} for one in found if one.described is not None]
    content = {"report": report, "cases": cases, "guards": watched(folder, report.faults)}
    atomic_write.write(page, _rendered("lessons.jinja", script=_script(), **content))
    return page


def write_alone(report: Report, page: Path) -> None:
    """Write a page that belongs to no index."""
    _write_page(report, page, index="")


def write_live(report: Report, page: Path, live: Live) -> None:
    """Write the page of a campaign that is still running: it reloads by itself and has no gate result."""
    _write_page(report, page, index="", live=live)


def _write_page(report: Report, page: Path, index: str, live: Live | None = None) -> None:
    described, undescribed = known_modes()
    curves, given = Curves(page.parent), arguments(page.parent)
    found = lessons(report, described, curves, given)
    harmful = [one for one in found if one.worst.harmful]
    more = {
        "live": live,
        "undescribed": undescribed,
        "harmful": _section(harmful),
        "unknown": _section([one for one in found if one.worst.harm_unknown]),
        "harmless": _section([one for one in found if not (one.worst.harmful or one.worst.harm_unknown)]),
        "alike": lookalikes(harmful, curves),
        "replayed": replay_options(report),
        # How guards are constructed is known only once the campaign has ended.
        "remedy": remedy(report, given) if live is None else None,
        "comparison": since_before(report, page.parent),
        "tests": _tests(page.with_name(TESTS_FILE)),
        "guards": watched(page.parent, report.faults),
        "sweeps": sweeps(page.parent.parent if report.selection else page.parent),
    }
    content = {
        **_content(report),
        **more,
        "index": index,
        "limits": limits(report),
        "complete": _complete(report, page),
    }
    if live is not None:
        content["summary"] = f"{live.judged} of {live.planned} faults judged"
    atomic_write.write(page, _rendered("page.jinja", script=_script(), **content))


def _complete(report: Report, page: Path) -> str:
    """Return the link from a partial report to the complete one beside it; empty without one."""
    whole = page.parent.parent / REPORT_FILE
    return "../index.html" if report.selection and whole.is_file() and whole.with_name(page.name).is_file() else ""


def _section(found: list[Lesson]) -> dict[str, Any]:
    return {"count": len(found), "lessons": found, "groups": by_symptom(found)}


def parts(report: Report) -> list[Part]:
    """Return the parts of the coverage, the best first. A failure mode counts by its worst fault."""
    modes = report.by_mode()
    worst: dict[str, int] = {}
    for fault in report.faults:
        if fault.status is modes[fault.mode] and fault.status in COUNTED:
            worst[fault.mode] = max(worst.get(fault.mode, 0), _rank(fault))
    counts = Counter(worst.values())
    return segments(
        (f"part{rank}", _WORDS[rank], counts[rank])
        for rank in (0, 1, 2, 3, 4, 6, 7, 5)
        if rank != _UNKNOWN or counts[_UNKNOWN]
    )


def _rank(fault: FaultResult) -> int:
    if fault.status is Status.DETECTED:
        return fault.best.worth if fault.best else len(WORTHS) - 1
    return 4 if fault.status is Status.WARNED else 6 if fault.harmful else _UNKNOWN if fault.harm_unknown else 5


def _content(report: Report) -> dict[str, Any]:
    detected: list[list[FaultResult]] = [[] for _ in WORTHS]
    for fault in report.faults:
        if fault.status is Status.DETECTED:
            detected[_rank(fault)].append(fault)
    modes = Counter(report.by_mode().values())
    rows = matrix(report)
    by_severity = sorted({fault.severity for fault in report.faults}, key=severity_order)
    there = {fault.status for fault in report.faults}
    return {
        "report": report,
        "broken": bool(report.faults) or report.mutation is None,
        "mutants": mutant_section.content(report),
        "of_target": target_lines(report.baseline.findings),
        "alarms": [alarm for alarm in report.baseline.false_alarms if alarm.kind != "test"],
        "left_out": [alarm for alarm in report.baseline.false_alarms if alarm.kind == "test"],
        "summary": one_line(report),
        "parts": parts(report),
        "counted": sum(modes[status] for status in COUNTED),
        "others": [(status.value, modes[status]) for status in Status if modes[status] and status not in COUNTED],
        "matrix": rows,
        "who": lambda *faults: sorted({rows["numbers"][found.who] for fault in faults for found in fault.detected_by}),
        "latency": distribution(report),
        "severities": by_severity,
        "statuses_there": [status.value for status in FILTERED if status in there],
        "detected": list(zip(WORTHS, detected)),
        "statuses": {status.value: [fault for fault in report.faults if fault.status is status] for status in Status},
        "folds": folds,
    }


def _tests(file: Path) -> dict[str, Any] | None:
    """Return the user's tests, the most useful first, with the faults that only one of them detects."""
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
        "whole": found["whole"],
        "settled": sum(bool(fault.get("settled")) for fault in found["faults"]),
    }


def _overview(out: Path) -> dict[str, Any]:
    rows, unreadable = [], []
    for file in reports_below(out):
        try:
            report = Report.read(file)
            page = file.with_name("index.html")
            link = quote(os.fsencode(page.relative_to(out).as_posix())) if page.exists() else ""
            rows.append(_row(link, report))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            unreadable.append((file.relative_to(out).as_posix(), f"{type(error).__name__}: {error}"))
    segments = [part for row in rows for part in (*row["parts"], *row["mutants"]) if part.count]
    colors = sorted({(part.name, part.words) for part in segments}, key=lambda one: one[0])
    return {
        "rows": rows,
        "unreadable": unreadable,
        "mutated": any(row["mutants"] for row in rows),
        "colors": colors,
    }


def _row(link: str, report: Report) -> dict[str, Any]:
    mutants = mutant_section.parts(report) if report.mutation is not None else []
    return {
        "page": link,
        "report": report,
        "alarms": len(alarms := [alarm for alarm in report.baseline.false_alarms if alarm.kind != "test"]),
        "left_out": len(report.baseline.false_alarms) - len(alarms),
        "harmful": len({fault.mode for fault in report.silent() if fault.harmful}),
        "summary": one_line(report),
        "parts": parts(report),
        "mutants": mutants,
        "mutant_summary": mutation_line(report),
    }


def _rendered(template: str, script: str = "", **content: Any) -> str:
    environment = _environment()
    style = environment.get_template("style.jinja").render()
    # Only these two are marked as safe: faultlab's own style sheet and script, whose hashes the policy has.
    content = {"live": None, **content}
    own = {"style": Markup(style), "style_hash": _hash(style), "script": Markup(script), "script_hash": _hash(script)}
    text = environment.get_template(template).render(**own, **content)
    return _BLANK.sub(">\n<", text)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script() -> str:
    return Path(__file__).with_name("page.js").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: harmless(clipped(value)) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        address=address, blocks=blocks, clipped=clipped, cost=cost, harmless=harmless, percent=percent, title=title
    )
    return environment

"""A page of many faults: a few of each failure mode have rows, the rest are folded, and none is missing."""

from __future__ import annotations

from pathlib import Path

from faultlab.core.detection import Prescribed
from faultlab.core.report import FaultResult, Harm, Report
from faultlab.report.html import document
from faultlab.report.html.charts import Curves
from faultlab.report.html.folds import FEW, folds
from faultlab.report.html.lessons import LISTED, lessons
from faultlab.report.html.matrix import MOST_CELLS, WIDEST, matrix
from tests.support import detection, report, result

HARM = Harm("val_loss", 0.5, 2.25, True)


def silent(steps: int) -> list[FaultResult]:
    """Faults of one failure mode, each detected by one ready-made guard or two."""
    guards = [Prescribed("faultlab.guards.Always", 3, 0.01), Prescribed("faultlab.guards.Odd", 5)]
    return [
        result(f"loss.nan@step={n}", "silent", first_step=2, prescription=guards[: 1 + n % 2], harm=HARM)
        for n in range(steps)
    ]


def page(folder: Path, *faults: FaultResult) -> str:
    return document.write(report(*faults), folder).read_text(encoding="utf-8")


def test_failure_modes_with_few_faults_are_not_folded() -> None:
    few = [result(f"loss.nan@step={n}", "detected") for n in range(FEW)]
    many = [result(f"loss.zeroed@step={n}", "detected") for n in range(FEW + 1)]
    first, second = folds([*few, *many])
    assert (list(first.shown), list(first.folded)) == (few, [])
    assert [*second.shown, *second.folded] == many
    assert second.folded


def test_every_fault_of_thousands_stands_on_the_page_and_few_of_them_in_rows_of_their_own(tmp_path: Path) -> None:
    detected = [
        result(f"loss.zeroed@step={n}", "detected", detected_by=[detection(name=f"G{n % 3}")]) for n in range(300)
    ]
    warned = [result(f"loss.summed@step={n}", "warned", warnings=["careful"]) for n in range(300)]
    failed = [result(f"loss.offset@step={n}", "error", reason="it broke") for n in range(300)]
    faults = [*silent(300), *detected, *warned, *failed]
    text = page(tmp_path, *faults)
    assert [fault.id for fault in faults if f"<code>{fault.id}</code>" not in text] == []
    assert text.count("data-mode=") < 30
    assert text.count("297 more faults") == 3
    assert f"{300 - LISTED} more faults" in text


def test_what_is_folded_says_who_detected_it_and_when(tmp_path: Path) -> None:
    many = [result(f"loss.nan@step={n}", "detected", detected_by=[detection(name="G", step=n)]) for n in range(9)]
    folded = page(tmp_path, *many).partition("6 more faults")[2]
    assert "<code>loss.nan@step=8</code>: guard G in step 8" in folded


def test_the_filter_by_detector_finds_a_failure_mode_by_its_folded_faults(tmp_path: Path) -> None:
    many = [result(f"loss.nan@step={n}", "detected", detected_by=[detection(name="First" if n < 5 else "Later")])
            for n in range(9)]  # fmt: skip
    text = page(tmp_path, *many)
    rows = [line for line in text.splitlines() if line.startswith("<tbody data-mode")]
    assert [line.partition("data-who=")[2] for line in rows] == ['"0">', '"0">', '"0">', '"0 1">']


def test_a_lesson_of_many_faults_counts_what_each_guard_would_have_detected(tmp_path: Path) -> None:
    many = silent(LISTED + 2)
    (lesson,) = lessons(Report("digits", faults=many), {}, Curves(tmp_path))
    assert [(one.guard, one.faults, one.soonest, one.latest, one.cost) for one in lesson.offers] == [
        ("faultlab.guards.Always", LISTED + 2, 1, 1, 0.01),
        ("faultlab.guards.Odd", LISTED // 2 + 1, 3, 3, None),
    ]
    assert f"Odd ({LISTED // 2 + 1} of {LISTED + 2} faults, 3 steps later)" in page(tmp_path, *many)


def test_in_a_large_matrix_empty_neighbours_share_a_cell_and_every_row_fills_its_columns() -> None:
    faults = [
        result(f"loss.m{n}@always", "detected", detected_by=[detection(name=f"G{n % WIDEST}")])
        for n in range(MOST_CELLS // WIDEST + 1)
    ]
    ((_, _, rows),) = matrix(report(*faults))["families"]
    assert all(sum(columns for _, columns in row.spans) == WIDEST == len(row.cells) for row in rows)
    assert max(len(row.spans) for row in rows) == 3
    assert [cell for cell, _ in rows[7].spans if cell] == [cell for cell in rows[7].cells if cell]
    ((_, _, few),) = matrix(report(*faults[:-2]))["families"]
    assert all(columns == 1 for row in few for _, columns in row.spans)

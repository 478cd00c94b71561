"""A report at an interpreter's prompt and in a notebook."""

from __future__ import annotations

from typing import Any

from faultlab.core.detection import Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Harm, Report, Status
from tests.support import report, result


def _shown(found: Report) -> str:
    text: Any = found._repr_html_()
    assert isinstance(text, str)
    return text


def test_the_repr_is_one_short_line() -> None:
    found = report(
        result("loss.nan", Status.DETECTED), result("label.noisy", Status.SILENT), result("batch.none", Status.WARNED)
    )
    assert repr(found) == "<Report made-up: coverage 0.33, 1 detected, 1 only warned, 1 silent>"


def test_a_report_without_verdicts_has_no_coverage() -> None:
    assert repr(report()) == "<Report made-up: no coverage, 0 detected, 0 silent>"
    assert "meter" not in _shown(report())


def test_a_notebook_shows_the_bar_and_what_detects_each_silent_fault() -> None:
    prescribed = [Prescribed("faultlab.guards.LabelsUsed", 3), Prescribed("faultlab.guards.LossFalls", 9)]
    silent = result(
        "label.noisy@always", Status.SILENT, severity="major", prescription=prescribed,
        harm=Harm("val_loss", 0.5, 1.25, harmful=True),
    )  # fmt: skip
    found = report(result("loss.nan", Status.DETECTED), silent)
    found.page = "reports/made-up/index.html"
    text = _shown(found)
    assert "value='0.5000'" in text
    assert "<td>label.noisy@always</td><td>major</td><td>val_loss 0.5 → 1.25</td><td>LabelsUsed, LossFalls</td>" in text
    assert "<a href='reports/made-up/index.html'>" in text


def test_only_the_worst_dozen_are_listed() -> None:
    found = report(*(result(f"label.noisy@step={step}", Status.SILENT) for step in range(13)))
    assert _shown(found).count("<tr><td>") == 12
    assert "and 1 more silent fault<" in _shown(found)


def test_nothing_of_the_users_is_taken_for_markup() -> None:
    evil = "<script>alert('x')</script>"
    silent = result(f"callback.disabled:of={evil}", Status.SILENT, harm=Harm(evil, 1.0, 2.0, harmful=True))
    found = Report(evil, faults=[silent], passed=False, reasons=[Reason(ReasonKind.CANARY, evil)], page=evil)
    assert "<script>" not in _shown(found)
    assert "alert('" not in _shown(found)
    assert "&lt;script&gt;" in _shown(found)


def test_a_name_of_several_lines_stays_on_one() -> None:
    assert "\n" not in repr(Report("a\nb"))

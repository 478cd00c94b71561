"""A run that `--select` or `--ignore` limits: its report is partial, marked, and beside the complete one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faultlab.core.comparison import compare
from faultlab.core.demands import Demands
from faultlab.core.report import FaultResult, Report
from faultlab.report import files
from faultlab.report.differences import lines, since_before
from faultlab.report.overview import one_line
from tests.support import call, detection, report, result, run_folder

SELECTION = {"select": ["loss.*"], "ignore": ["loss.zeroed"]}
OPTIONS = "--select 'loss.*' --ignore loss.zeroed"


def _fault(id: str, status: str) -> FaultResult:
    return result(id, status, activations=1, first_step=0, detected_by=[detection()] if status == "detected" else [])


def _complete() -> Report:
    return report(_fault("loss.nan@once", "silent"), _fault("return.none@once", "detected"))


def _partial(status: str = "silent") -> Report:
    return report(_fault("loss.nan@once", status), selection=SELECTION)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Reports of a complete run and of a partial run after it, with their pages."""
    for one in (_complete(), _partial("detected")):
        run_folder(tmp_path, one)
        files.write(one, tmp_path)
    return tmp_path


def test_the_complete_report_and_its_page_stay_as_they_were(out: Path) -> None:
    complete = out / "made-up"
    before = {name: (complete / name).read_bytes() for name in ("report.json", "index.html", "plan.json")}
    files.write(_partial("silent"), out)
    run_folder(out, _partial("silent"))
    assert {name: (complete / name).read_bytes() for name in before} == before


def test_a_partial_report_names_its_limits_in_every_form(out: Path) -> None:
    folder = out / "made-up" / "selected"
    data = json.loads((folder / "report.json").read_text())
    assert data["selection"] == SELECTION
    assert Report.from_json(data).selection == SELECTION
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Partial report." in page
    assert "--select &#39;loss.*&#39; --ignore loss.zeroed" in page
    assert '<a href="../index.html">complete report</a>' in page
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## faultlab: made-up (partial), ")
    assert OPTIONS in summary
    assert json.loads((folder / "badge.json").read_text())["label"] == "failure modes detected (partial)"
    assert one_line(_partial()).startswith("made-up (partial): coverage ")


def test_a_complete_report_is_not_marked(out: Path) -> None:
    folder = out / "made-up"
    assert "selection" not in json.loads((folder / "report.json").read_text())
    for name in ("index.html", "summary.md", "badge.json"):
        assert "partial" not in (folder / name).read_text(encoding="utf-8").lower(), name


def test_the_gate_judges_the_complete_report_and_rejects_a_partial_one(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(capsys, monkeypatch, "gate", out).status == 0
    rejected = call(capsys, monkeypatch, "gate", out / "made-up" / "selected")
    assert rejected.status == 4
    assert f"inconclusive: it is partial, limited by {OPTIONS}; run all faults with `faultlab run`" in rejected.out


@pytest.mark.parametrize("arguments", [[], ["--fail-under", "0"], ["--accept", "--baseline", "accepted.json"]])
def test_the_gate_rejects_a_scenario_that_has_only_a_partial_report(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    partial = _partial("detected")
    partial.demands = Demands(coverage=0.5)
    run_folder(tmp_path / "reports", partial)
    done = call(capsys, monkeypatch, "gate", *arguments)
    assert done.status == 4
    assert "it is partial" in done.out + done.err
    assert not Path("accepted.json").exists()


def test_a_complete_run_that_was_not_completed_is_not_replaced_by_a_partial_report(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "made-up" / "report.json").unlink()
    done = call(capsys, monkeypatch, "gate", out)
    assert done.status == 4
    assert "the run was not completed: it has no report" in done.out + done.err


def test_a_partial_run_is_compared_with_the_complete_one_by_its_own_faults(out: Path) -> None:
    found = since_before(_partial("detected"), out / "made-up" / "selected")
    assert found is not None
    assert lines(found) == [
        "newly detected: loss.nan (major): silent -> detected",
        "coverage: 0.000 -> 1.000",
    ]
    assert not compare(_complete(), _partial())


def test_without_a_complete_run_a_partial_one_is_compared_with_the_previous(tmp_path: Path) -> None:
    folder = tmp_path / "made-up" / "selected"
    folder.mkdir(parents=True)
    (folder / "previous.json").write_text(json.dumps(_partial().to_json()))
    found = since_before(_partial("detected"), folder)
    assert found is not None
    assert [change.mode for change in found.newly_detected] == ["loss.nan"]


def test_the_index_lists_a_partial_report_only_if_there_is_no_complete_one(out: Path) -> None:
    index = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="made-up/index.html"' in index
    assert "selected/index.html" not in index
    for file in (out / "made-up").glob("*.*"):
        file.unlink()
    (out / "made-up" / "logs").rmdir()
    files.write(_partial(), out)
    index = (out / "index.html").read_text(encoding="utf-8")
    assert '<a href="made-up/selected/index.html">made-up (partial)</a>' in index


def test_the_pages_of_a_partial_report_are_regenerated_in_its_folder(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = out / "made-up" / "selected" / "index.html"
    page.unlink()
    assert call(capsys, monkeypatch, "report", page.parent).out == f"{page}\n"
    assert page.is_file()


def test_reports_of_different_parts_are_compared_by_their_common_faults(tmp_path: Path) -> None:
    other = report(result("loss.nan@once", "detected"), selection={"select": ["loss.nan"], "ignore": []})
    before = report(result("loss.nan@once", "silent"), result("loss.inf@once", "silent"), selection=SELECTION)
    assert lines(compare(before, other)) == [
        "newly detected: loss.nan (major): silent -> detected",
        "coverage: 0.000 -> 1.000",
    ]

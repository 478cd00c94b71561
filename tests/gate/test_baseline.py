"""The accepted baseline: who may accept what, and what differs from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Report
from faultlab.gate import baseline_check
from faultlab.gate import baseline_file as files
from faultlab.gate.baseline_file import Accepted
from tests.gate.reports import DETECTED, SILENT, Gate, whole
from tests.support import Called, call, report, result, run_folder


def test_of_two_reports_of_one_scenario_none_is_accepted(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "one")
    whole(tmp_path / "two")
    asked = ("--baseline", "accepted.json", "--accept", "--reason", "by design", "--expires", "2999-01-01")
    done = gate("one", "two", *asked)
    assert done.status == 2
    assert "two reports of the scenario 'made-up'" in done.err


@pytest.mark.parametrize("reason", ["", "   ", " a "])
def test_a_reason_says_something(gate: Gate, tmp_path: Path, reason: str) -> None:
    whole(tmp_path / "reports")
    done = gate("--baseline", "accepted.json", "--accept", "--reason", reason, "--expires", "2999-01-01")
    assert done.status == 2
    assert "Give the reason" in done.err


def test_what_was_accepted_is_asked_for_by_name(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports")
    asked = ("--baseline", "reports/accepted.json")
    assert (done := gate(*asked)).status == 2
    assert "--accept" in done.err
    assert (done := gate(*asked, "--accept")).status == 2
    assert "not detected: made-up: a.silent" in done.err
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0
    assert (done := gate(*asked, "--accept")).status == 0, "nothing is new"
    assert "unchanged" in done.out
    whole(tmp_path / "reports", result("b.new@always", "silent"))
    done = gate(*asked, "--json")
    told = json.loads(done.out)
    assert (done.status, told["exit_code"], told["passed"]) == (1, 1, False)
    assert told["reports"][0]["reasons"] == ["baseline: b.new is silent, which is not accepted in the baseline"]
    assert told["reports"][0]["kinds"] == ["baseline"]


def test_a_scenario_that_was_deleted_is_missed(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports")
    run_folder(tmp_path / "reports", Report("another", faults=[DETECTED]))
    asked = ("--baseline", "accepted.json")
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0
    done = gate("reports/another", *asked)
    assert done.status == 1
    assert "there is no report of the scenario 'made-up'" in done.out


ACCEPT = ("--accept", "--reason", "by design", "--expires", "2999-01-01")


def test_what_a_command_has_made_up_is_neither_judged_nor_accepted(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports")
    for name, study in (("demo", "demo"), ("made-up-prescribed", "prescribe")):
        run_folder(
            tmp_path / "reports", Report(name, faults=[DETECTED], reasons=[Reason(ReasonKind.CANARY, "x")], study=study)
        )
    asked = ("--baseline", "accepted.json")
    done = gate(*asked, *ACCEPT)
    assert done.status == 0, done.err
    done.out.index("skipped: reports/demo: written by `faultlab demo`, not from a scenario of yours")
    done.out.index("skipped: reports/made-up-prescribed: written by `faultlab prescribe`")
    assert list(json.loads((tmp_path / "accepted.json").read_text())["scenarios"]) == ["made-up"]
    assert gate(*asked).status == 0
    assert gate("reports/demo").status == 4, "named, it is judged"
    told = json.loads(gate("--json").out)
    assert told["left_out"] == {
        "reports/demo/report.json": "demo",
        "reports/made-up-prescribed/report.json": "prescribe",
    }
    run_folder(tmp_path / "others", Report("demo", faults=[DETECTED], study="demo"))
    done = gate("others/demo", *asked, *ACCEPT)
    assert done.status == 2
    assert "does not come from a scenario of yours, but from `faultlab demo`" in done.err
    done = gate("others")
    assert done.status == 4
    assert "no report of a scenario of yours, only others/demo" in done.err


def test_what_run_does_not_make_it_is_not_asked_for(tmp_path: Path) -> None:
    ran = report(DETECTED, target={"scenario": "s.yaml"})
    tested = replace(report(DETECTED), scenario="pytest")
    accepted = baseline_check.renewed(Accepted(schema=1), [ran, tested], "", None)
    (tmp_path / "accepted.json").write_text(files.written(accepted), encoding="utf-8")
    read = files.read(tmp_path / "accepted.json")
    assert read == accepted
    assert baseline_check.missing(read, ["made-up"], run=True) == []
    assert texts(baseline_check.missing(read, [], run=True)) == [
        "baseline: there is no report of the scenario 'made-up', which is in the baseline"
    ]
    assert len(baseline_check.missing(read, [])) == 2


def test_what_a_run_said_of_the_baseline_is_said_anew(gate: Gate, tmp_path: Path) -> None:
    whole(
        tmp_path / "reports",
        reasons=[Reason(ReasonKind.BASELINE, "a.silent is silent, which is not accepted in the baseline")],
    )
    asked = ("--baseline", "accepted.json")
    assert gate().status == 1
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0


def test_what_proves_nothing_can_not_be_accepted(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports", result("a.b@always", "error"))
    done = gate("--baseline", "accepted.json", "--accept", "--reason", "by design", "--expires", "2999-01-01")
    assert done.status == 4
    assert not (tmp_path / "accepted.json").exists()


@pytest.mark.parametrize("options", [["--reason", "because"], ["--expires", "2999-01-01"]])
def test_options_that_go_together_are_asked_for_together(gate: Gate, options: list[str]) -> None:
    assert gate(*options).status == 2


def test_differences_are_told_and_end_with_a_status_where_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    whole(before)
    run_folder(before, Report("old", faults=[DETECTED]))
    run_folder(after, report(result(DETECTED.id, "silent"), SILENT))
    run_folder(after, Report("new", faults=[DETECTED]))

    def diff(*arguments: str | Path) -> Called:
        return call(capsys, monkeypatch, "diff", *arguments)

    assert diff(before, before, "--exit-code").status == 0
    assert (done := diff(before, after)).status == 0
    assert done.out == (
        f"old: not in {after}\nnew: not in {before}\nmade-up:\n"
        "  newly silent: a.detected (major): detected -> silent\n"
        "  lost: guard:Moves no longer detects a.detected (no detector does)\n"
        "  coverage: 0.500 -> 0.000\n"
    )
    assert diff(before, after, "--exit-code").status == 1
    told = json.loads(diff(before, after, "--json").out)
    assert (told["differ"], told["gone"], told["new"]) == (True, ["old"], ["new"])
    one = diff(before / "old", after / "new" / "report.json")
    assert one.out == "new: no difference\n"

"""What GitHub Actions is told: annotations that it shows, and a summary that it does not refuse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faultlab.cli import ci_services
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Report, Status
from faultlab.report.formats import github
from tests.report.pages import HARMFUL, fault
from tests.report.test_formats import report
from tests.report.test_published_schemas import NASTY, told
from tests.support import mutant

COMMAND = re.compile(r"::(error|warning|notice) ((?:\w+=[^,:]*,?)+)::(.*)")


def parsed(lines: list[str]) -> list[tuple[str, dict[str, str], str]]:
    found = []
    for line in lines:
        match = COMMAND.fullmatch(line)
        assert match, line
        properties = dict(pair.split("=", 1) for pair in match[2].split(","))
        found.append((match[1], {name: _unescaped(value) for name, value in properties.items()}, _unescaped(match[3])))
    return found


def _unescaped(text: str) -> str:
    for code, letter in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def failed(made: Report) -> Report:
    made.passed, made.reasons = False, [Reason(ReasonKind.COVERAGE, "coverage 0.10 is under 0.80")]
    made.target["scenario"] = "scenarios/digits.yaml"
    return made


def test_an_annotation_stands_at_the_method_and_names_a_guard_that_detects_it() -> None:
    level, where, message = parsed(github.commands([failed(report())]))[1]
    assert (level, where["file"], where["line"]) == ("error", "pkg/model.py", "20")
    assert where["title"] == "digits: no detector reports loss.scaled"
    assert message.endswith("Add a guard that detects it: faultlab.guards.LossFalls.")


def test_a_gate_that_does_not_pass_is_said_first_and_at_the_scenario() -> None:
    level, where, message = parsed(github.commands([report(), failed(report())]))[0]
    assert (level, where) == ("error", {"file": "scenarios/digits.yaml", "title": "faultlab: digits does not pass"})
    assert message == "coverage 0.10 is under 0.80"


def test_nothing_is_an_error_where_the_gate_passes() -> None:
    levels = {level for level, _, _ in parsed(github.commands([report(mutants=[mutant("silent", 3)])]))}
    assert levels == {"warning", "notice"}


def test_no_more_are_printed_than_are_shown_and_the_rest_is_counted() -> None:
    many = [fault(f"loss.number-{n}", Status.SILENT, harm=HARMFUL) for n in range(40)]
    many += [fault(f"init.number-{n}", Status.SILENT) for n in range(11)]
    many += [fault(f"return.number-{n}", Status.WARNED) for n in range(10)]
    found = parsed(github.commands([failed(report(many))]))
    counted = {kind: [one for one in found if one[0] == kind] for kind in ("error", "warning", "notice")}
    assert {kind: len(of) for kind, of in counted.items()} == {"error": 10, "warning": 10, "notice": 10}
    assert counted["error"][-1][2].startswith("32 more that GitHub does not show here")
    assert counted["warning"][-1][2].startswith("2 more")
    assert "number" in counted["notice"][-1][2]


@pytest.mark.parametrize("words", NASTY.values(), ids=NASTY)
def test_words_of_a_victim_never_become_a_command_of_their_own(words: str) -> None:
    made = failed(told(f"{words}\n::add-mask::x\r::set-output name=a::b,%0A::error::%"))
    made.reasons = [Reason(ReasonKind.COVERAGE, words)]
    for line in github.commands([made]):
        line.encode()
        assert COMMAND.fullmatch(line)
        assert len(line.splitlines()) == 1
        assert len(line) < 10_000


def test_a_percent_sign_a_line_and_a_comma_come_back_as_they_were() -> None:
    made = failed(report([]))
    made.reasons = [Reason(ReasonKind.COVERAGE, "100 % of a, b: c\nand d")]
    made.target["scenario"] = "a,b:c%.yaml"
    _, where, message = parsed(github.commands([made]))[0]
    assert message == "100 % of a, b: c\nand d"
    assert where["file"] == "a,b:c%.yaml"


def test_the_step_summary_of_two_thousand_faults_in_each_of_many_scenarios_is_one_that_github_takes() -> None:
    many = [fault(f"loss.number-{n}", Status.SILENT, reason="ä" * 3000, harm=HARMFUL) for n in range(2000)]
    reports = [report(many) for _ in range(3)]
    for number, made in enumerate(reports):
        made.scenario = f"scenario-{number}"
    reports[2].passed = False
    text = github.step_summary(reports)
    assert len(text.encode()) <= github.SUMMARY_BYTES
    assert text.startswith("## faultlab: scenario-2"), "what does not pass comes first"
    # With the room that others of the step left.
    for room in (100_000, 10_000, 500, 0):
        tight = github.step_summary(reports, room)
        assert len(tight.encode()) <= max(room, 200)
        if room >= 10_000:
            assert all(f"scenario-{number}" in tight for number in range(3))
    assert "3 more scenarios" in github.step_summary(reports, 0)


def test_the_service_is_told_only_where_it_is_or_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "summary"
    file.write_text("said before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    ci_services.tell([report()], None, as_json=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    ci_services.tell([report()], "none", as_json=False)
    assert capsys.readouterr().out == ""
    assert file.read_text() == "said before\n"
    ci_services.tell([report()], None, as_json=False)
    assert capsys.readouterr().out.startswith("::warning file=pkg/model.py")
    assert file.read_text().startswith("said before\n## faultlab: digits")


def test_standard_output_stays_one_document_where_json_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    ci_services.tell([report()], "github", as_json=True)
    assert capsys.readouterr().out == ""
    assert (tmp_path / "summary").read_text().startswith("## faultlab")


def test_a_summary_that_can_not_be_written_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    ci_services.tell([report()], "github", as_json=False)
    assert "no step summary was written" in capsys.readouterr().err

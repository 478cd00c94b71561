"""What other tools read: JUnit, SARIF, GitLab's code quality, a shield, and a summary for a pull request."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from faultlab.config.source_lookup import place_of, within_repository
from faultlab.core.detection import Prescribed
from faultlab.core.records import Records
from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.source_mutation import Mutation
from faultlab.report import files, reporters
from faultlab.report.formats import badge, gitlab, junit, sarif
from faultlab.report.formats.complaints import findings
from tests.report.pages import HARMFUL, HARMLESS, fault, found

ROOT = Path(__file__).parents[2]
FORMATS = {"junit.xml", "faultlab.sarif", "gitlab.json", "summary.md", "badge.json"}

PRESCRIBED = Prescribed("faultlab.guards.LossFalls", 3, 0.01)


def mutant(status: Status = Status.SILENT, number: int = 1, **more: object) -> FaultResult:
    where = {"file": "pkg/model.py", "line": 7, "column": 5, "end_line": 7, "end_column": 6, "function": "Lit.forward"}
    said = {**where, "operator": "number", "before": "1", "after": "2", "diff": f"-1\n+{number}", "tests": None}
    made = {"mutant": {**said, "training": None}, "reason": "the only test that runs it passes", **more}
    return FaultResult(f"pkg.model.x{number}", "source.number", "source", "major", status, **made)  # type: ignore[arg-type]


def report(faults: list[FaultResult] | None = None, mutants: list[FaultResult] | None = None) -> Report:
    faults = faults if faults is not None else [
        fault("loss.scaled", Status.SILENT, harm=HARMFUL, prescription=[PRESCRIBED]),
        fault("optimizer.double-step", Status.SILENT, harm=HARMLESS),
        fault("return.none", Status.WARNED, warnings=["it returned None"]),
        fault("loss.nan", Status.DETECTED, detected_by=[found("guard", cause=True)]),
        fault("step.raises", Status.ERROR, reason="the injector failed"),
        fault("batch.swapped", Status.NOT_APPLICABLE, reason="no pair"),
        fault("batch.dropped", Status.IGNORED, reason="on purpose"),
        fault("label.shuffled", Status.NO_EFFECT, reason="to the bit"),
    ]  # fmt: skip
    target = {"file": "pkg/model.py", "line": 3, "methods": {"training_step": 20, "configure_optimizers": 31}}
    made = Report("digits", faults=faults, mutants=mutants or [], target=target)
    if mutants:
        row = {"file": "pkg/model.py", "function": "Lit.forward", "line": 7, "detected": 1, "counted": 2}
        rows = [{**row, "not_activated": 0, "modes_detected": 0, "modes": 0}]
        counts = {status.value: sum(one.status is status for one in mutants) for status in Status}
        made.mutation = Mutation("3.8.1", ["pkg/model.py"], ["tests"], 0.5, counts, rows, timing={"total": 1.0})
    return made


def test_a_finding_stands_at_the_method_that_the_failure_mode_bites_in() -> None:
    placed = {finding.rule: (finding.file, finding.line) for finding in findings(report())}
    assert placed["loss.scaled"] == ("pkg/model.py", 20)
    assert placed["optimizer.double-step"] == ("pkg/model.py", 3), "the class, where the method is not the user's own"


def test_a_finding_of_a_project_within_a_repository_has_the_path_that_the_code_host_knows() -> None:
    made = report(mutants=[mutant()])
    made.target["project"] = "packages/vision"
    assert {finding.file for finding in findings(made)} == {"packages/vision/pkg/model.py"}


def test_a_finding_in_no_file_of_the_users_stands_in_the_scenario() -> None:
    made = report()
    made.target = {"scenario": "scenarios/digits.yaml"}
    assert {(finding.file, finding.line) for finding in findings(made)} == {("scenarios/digits.yaml", 1)}
    made.target = {"scenario": "/home/me/digits.yaml"}
    assert {finding.file for finding in findings(made)} == {""}, "a code host knows no such file"


def test_a_project_is_placed_in_the_repository_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    inner = tmp_path / "packages/vision"
    inner.mkdir(parents=True)
    assert within_repository(inner) == "packages/vision"
    assert within_repository(tmp_path) == ""


def test_the_gravest_findings_come_first_and_what_is_detected_is_none() -> None:
    levels = [(finding.rule, finding.level) for finding in findings(report())]
    assert levels[0] == ("loss.scaled", "error")
    assert levels[-1] == ("return.none", "note")
    assert {rule for rule, _ in levels} == {"loss.scaled", "optimizer.double-step", "return.none", "step.raises"}


def test_a_fingerprint_outlives_lines_that_move() -> None:
    (one,) = findings(report([], [mutant()]))
    moved = mutant()
    assert moved.mutant is not None
    moved.mutant.update(line=70)
    (other,) = findings(report([], [moved]))
    (another,) = findings(report([], [mutant(number=2)]))
    assert one.fingerprint == other.fingerprint != another.fingerprint


def test_junit_fails_what_is_silent_errs_what_is_inconclusive_and_skips_what_does_not_count() -> None:
    suite = ElementTree.fromstring(junit.render(report(mutants=[mutant()]))).find("testsuite")
    assert suite is not None
    kinds = {case.get("name"): [child.tag for child in case] for case in suite}
    assert {name: tags[0] for name, tags in kinds.items()} == {
        "loss.scaled@always": "failure",
        "optimizer.double-step@always": "failure",
        "return.none@always": "failure",
        "loss.nan@always": "system-out",
        "step.raises@always": "error",
        "batch.swapped@always": "skipped",
        "batch.dropped@always": "skipped",
        "label.shuffled@always": "skipped",
        "pkg.model.x1 pkg/model.py:7": "failure",
    }
    counted = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counted == ["9", "4", "1", "3"]


def test_sarif_has_a_rule_for_every_result_and_a_place_for_each() -> None:
    document = json.loads(sarif.render(report(mutants=[mutant()])))
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert document["version"] == "2.1.0"
    assert len({rule["id"] for rule in rules}) == len(rules) == 5
    for rule in rules:
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "pkg/model.py"
        assert place["region"]["startLine"] >= 1
        assert result["partialFingerprints"]["primaryLocationLineHash"]
    assert any("faultlab.guards.LossFalls" in result["message"]["text"] for result in run["results"])


def test_gitlab_gets_the_fields_that_it_asks_for() -> None:
    entries = json.loads(gitlab.render(report(mutants=[mutant()])))
    assert len(entries) == len({entry["fingerprint"] for entry in entries}) == 5
    for entry in entries:
        assert entry["description"]
        assert entry["check_name"]
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert entry["location"]["path"] == "pkg/model.py"
        assert entry["location"]["lines"]["begin"] >= 1


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (report([fault("loss.nan", Status.DETECTED)] * 1), "100 %"),
        (report([fault("loss.nan", Status.DETECTED), fault("loss.scaled", Status.SILENT)]), "50 %"),
        (report([], [mutant()]), "50 %"),
        (report([]), "nothing proven"),
    ],
)
def test_the_shield_says_the_coverage_and_never_more_than_it_is(made: Report, says: str) -> None:
    document = json.loads(badge.render(made))
    assert document["message"] == says
    assert document["schemaVersion"] == 1
    almost = [fault(f"loss.{n}", Status.DETECTED) for n in range(999)] + [fault("loss.scaled", Status.SILENT)]
    assert json.loads(badge.render(report(almost)))["message"] == "99 %"


def test_all_formats_are_written_beside_the_report(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    files.write(report(), tmp_path)
    assert {file.name for file in (tmp_path / "digits").iterdir()} == {*FORMATS, "index.html"}


def test_nothing_that_an_earlier_campaign_concluded_stands_while_another_runs(tmp_path: Path) -> None:
    records = Records(tmp_path / "digits")
    records.write_report(report([], [mutant(reason="")]))
    files.write(report([], [mutant(reason="")]), tmp_path)
    records.clear(resume=False, formats=reporters.files())
    left = {file.name for file in (tmp_path / "digits").iterdir()}
    assert left <= {".earlier", "logs", "previous.json"}, "and what the next one is compared with"


def test_the_place_of_a_class_is_found_without_importing_it() -> None:
    place = place_of("scenarios.digits.model.LitDigits", ROOT)
    lines = (ROOT / "scenarios/digits/model.py").read_text(encoding="utf-8").splitlines()
    assert place["file"] == "scenarios/digits/model.py"
    assert lines[place["line"] - 1].startswith("class LitDigits")
    assert "def training_step" in lines[place["methods"]["training_step"] - 1]
    assert place_of("somewhere.else.Lit", ROOT) == {"class_path": "somewhere.else.Lit"}

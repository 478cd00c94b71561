"""The gate on reports that lie on disk: what it refuses to trust, and what it says and ends with."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faultlab.core import seal
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Report
from faultlab.core.source_mutation import Mutation
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate import baseline_check, evidence
from faultlab.gate import baseline_file as files
from faultlab.gate.baseline_file import Accepted
from faultlab.gate.demands import check_mutants
from faultlab.mutants.mutation import MutationOptions, SourceMutation
from tests.support import Called, call, detection, mutant, mutated, report, result, run_folder

GUARD = detection("guard", "Moves", names_cause=True)
DETECTED = result("a.detected@always", "detected", detected_by=[GUARD])
SILENT = result("a.silent@always", "silent", severity="critical")
Gate = Callable[..., Called]


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gate:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, monkeypatch, "gate", *arguments)


def _whole(out: Path, *more: Any, **fields: Any) -> Path:
    return run_folder(out, report(DETECTED, SILENT, *more, **fields)) / "report.json"


def _edit(file: Path, change: Callable[[dict[str, Any]], None], sealed: bool = False) -> None:
    data = json.loads(file.read_text())
    change(data)
    if sealed:
        data["digest"] = seal.digest_of(data)
    file.write_text(json.dumps(data))


def _look_green(data: dict[str, Any]) -> None:
    """Everything that a report says, so that it agrees with itself."""
    silent = next(fault for fault in data["faults"] if fault["mode"] == SILENT.mode)
    silent.update(status="detected", detected_by=[GUARD.to_json()])
    counts = Report.from_json(data)
    data["coverage"] = json.loads(json.dumps(counts.coverage()))
    data["gate"].update(passed=True, reasons=[], kinds=[])


def test_a_report_as_it_was_written_is_taken(tmp_path: Path) -> None:
    file = _whole(tmp_path)
    assert evidence.read(file, whole=True) == Report.read(file)
    data = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(data.items())), indent=4))
    assert evidence.read(file, whole=True).scenario == "made-up", "layout and order are no edit"


@pytest.mark.parametrize("key", ["passed", "reasons", "ratio", "status", "scenario"])
def test_a_report_that_was_edited_is_refused(tmp_path: Path, key: str) -> None:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "passed": lambda data: data["gate"].update(passed=not data["gate"]["passed"]),
        "reasons": lambda data: data["gate"].update(reasons=["none"]),
        "ratio": lambda data: data["coverage"].update(ratio=1.0),
        "status": lambda data: data["faults"][1].update(status="detected"),
        "scenario": lambda data: data.update(scenario="another"),
    }
    file = _whole(tmp_path)
    _edit(file, changes[key])
    with pytest.raises(InconclusiveError, match="its digest does not match"):
        evidence.read(file)


def test_a_report_without_a_digest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = _whole(tmp_path)
    _edit(file, lambda data: data.pop("digest"))
    with pytest.raises(InconclusiveError, match=r"it has no digest\n.*faultlab run"):
        evidence.read(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data["coverage"].update(ratio=1.0), "its coverage does not follow"),
        (lambda data: data["faults"][1].update(status="detected"), "a.silent@always is detected, but has no detector"),
        (
            lambda data: data["gate"].update(passed=True, reasons=[], kinds=[]),
            "lacks the reason 'coverage 0.50 is below 0.80'",
        ),
        (lambda data: data["gate"].update(passed=True), "its gate has passed: true and 1 reasons"),
        (lambda data: data["faults"].append(data["faults"][0]), "(2 times)"),
    ],
)
def test_a_new_digest_does_not_make_up_for_conclusions_that_do_not_follow(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    file = _whole(tmp_path, demands=Demands(coverage=0.8))
    _edit(file, change, sealed=True)
    with pytest.raises(InconclusiveError, match=said):
        evidence.read(file)


def test_a_report_that_agrees_with_itself_has_to_agree_with_its_run_folder(tmp_path: Path) -> None:
    file = _whole(tmp_path, demands=Demands(coverage=0.8))
    _edit(file, _look_green, sealed=True)
    assert evidence.read(file).ratio == 1.0, "alone it can't be told from a true one"
    with pytest.raises(InconclusiveError, match=r"(?s)not the report that.*plan.json.*a.silent@always is reported"):
        evidence.read(file, whole=True)


def test_a_fault_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    def take_out(data: dict[str, Any]) -> None:
        data["faults"] = data["faults"][:1]
        data["coverage"] = json.loads(json.dumps(Report.from_json(data).coverage()))

    file = _whole(tmp_path)
    _edit(file, take_out, sealed=True)
    with pytest.raises(InconclusiveError, match=r"a\.silent@always was planned, but has no verdict"):
        evidence.read(file, whole=True)


def test_a_reason_that_only_the_run_could_see_can_not_be_taken_out(tmp_path: Path) -> None:
    file = _whole(tmp_path, reasons=[Reason(ReasonKind.CANARY, "a step that always raises was not detected")])
    _edit(file, lambda data: data["gate"].update(passed=True, reasons=[], kinds=[]), sealed=True)
    with pytest.raises(InconclusiveError, match="it is not the report"):
        evidence.read(file, whole=True)


@pytest.mark.parametrize("torn", ["plan.json", "outcomes.jsonl"])
def test_a_run_folder_that_is_torn_proves_nothing(tmp_path: Path, torn: str) -> None:
    file = _whole(tmp_path)
    (file.parent / torn).write_text("{")
    with pytest.raises(InconclusiveError, match="can't read"):
        evidence.read(file, whole=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', "\x00"])
def test_what_is_no_report_is_a_mistake_in_the_call(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UsageError, match=r"report\.json"):
        evidence.read(tmp_path / "report.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["faults"][0].update(severity=["major"], mode={}),
        lambda data: data["gate"].update(demands={"coverage": "much"}),
        lambda data: data["gate"].update(demands={"silent": None}),
        lambda data: data["gate"].update(exemptions=[{"mode": "loss.nan", "reason": "why", "expires": "soon"}]),
        lambda data: data["gate"].update(exemptions=[{}]),
        lambda data: data["baseline"].update(false_alarms=5),
    ],
)
def test_values_that_no_report_has_are_a_mistake_in_the_call(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    file = _whole(tmp_path)
    _edit(file, change, sealed=True)
    with pytest.raises(UsageError, match="not a faultlab report"):
        evidence.read(file)


def test_mutants_are_not_put_into_a_report_that_was_edited(tmp_path: Path) -> None:
    file = _whole(tmp_path)
    mutation: Any = SourceMutation(MutationOptions(paths=(tmp_path,), out=tmp_path), None, None)  # type: ignore[arg-type]
    name = type("Named", (SourceMutation,), {"name": "made-up"})
    mutation.__class__ = name
    assert mutation._known_report().faults == [DETECTED, SILENT]
    _edit(file, lambda data: data["gate"].update(reasons=["none"]))
    with pytest.raises(InconclusiveError):
        mutation._known_report()


def test_reports_pass_by_their_own_demands(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports", demands=Demands(coverage=0.5))
    done = gate()
    assert (done.status, done.err) == (0, "")
    assert "made-up: coverage 0.50" in done.out
    assert done.out.endswith("gate passed\n")


def test_a_target_that_is_not_deterministic_passes_no_gate_in_silence(gate: Gate, tmp_path: Path) -> None:
    found = report(DETECTED, demands=Demands(coverage=0.5))
    found.baseline.deterministic = False
    found.baseline.findings = [
        {"kind": "nondeterministic", "what": "runs differ", "evidence": "a clock", "remedy": "stop it"}
    ]
    run_folder(tmp_path / "reports", found)
    done = gate()
    assert done.status == 0
    assert "gate passed, by a target that is not deterministic" in done.out
    assert "  note: Runs differ. A clock. Stop it.\n" in done.out


def test_reports_do_not_pass_that_fall_short_of_their_demands(gate: Gate, tmp_path: Path) -> None:
    folder = _whole(tmp_path / "reports", demands=Demands(coverage=0.6)).parent
    for named in ((), ("reports",), (folder,), (folder / "report.json",)):
        done = gate(*named)
        assert done.status == 1
        assert "  coverage 0.50 is below 0.60\n" in done.out
        assert done.out.endswith("gate NOT passed\n")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--fail-under", "0.5"], 0, "gate passed"),
        (["--fail-under", "0.51"], 1, "coverage 0.50 is below 0.51"),
        (["--silent", "critical=1"], 0, "gate passed"),
        (["--silent", "critical=0"], 1, "1 critical failure modes are silent"),
        (["--silent", "grave=0"], 2, "critical"),
        (["--latency", "0"], 0, "gate passed"),
    ],
)
def test_the_command_line_asks_for_more(gate: Gate, tmp_path: Path, options: list[str], status: int, said: str) -> None:
    _whole(tmp_path / "reports")
    done = gate(*options)
    assert done.status == status
    assert said in done.out + done.err


def test_false_alarms_have_their_own_status(gate: Gate, tmp_path: Path) -> None:
    found = report(DETECTED, demands=Demands(false_alarms=1))
    found.baseline.false_alarms = [Alert("guard", "Wolf", 0, "!")]
    run_folder(tmp_path / "reports", found)
    assert gate().status == 0
    done = gate("--false-alarms", "0")
    assert done.status == 3
    assert "Wolf" in done.out


def test_a_report_edited_by_hand_to_look_green_is_inconclusive(gate: Gate, tmp_path: Path) -> None:
    file = _whole(tmp_path / "reports", demands=Demands(silent={"critical": 0}))
    assert gate().status == 1
    for sealed in (False, True):
        _edit(file, _look_green, sealed)
        done = gate()
        assert done.status == 4
        assert "Run the scenario again" in done.out


def test_a_report_alone_is_taken_and_said_to_be_alone(gate: Gate, tmp_path: Path) -> None:
    file = _whole(tmp_path / "reports")
    assert "note:" not in gate().out
    (file.parent / "plan.json").unlink()
    done = gate()
    assert done.status == 0
    assert "only its digest was checked" in done.out


@pytest.mark.parametrize("faults", [[], [result("a.b@always", "not_applicable")], [result("a.b@always", "ignored")]])
def test_a_scenario_that_was_emptied_proves_nothing(gate: Gate, tmp_path: Path, faults: list[Any]) -> None:
    run_folder(tmp_path / "reports", report(*faults))
    done = gate()
    assert done.status == 4
    assert "no fault was activated" in done.out


@pytest.mark.parametrize("status", ["error", "timeout", "not_activated"])
def test_what_is_inconclusive_does_not_pass(gate: Gate, tmp_path: Path, status: str) -> None:
    _whole(tmp_path / "reports", result("a.b@always", status))
    assert gate().status == 4


def test_a_canary_that_nobody_detected_does_not_pass(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports", reasons=[Reason(ReasonKind.CANARY, "a step that always raises was not detected")])
    assert gate().status == 4


def test_no_reports_at_all_prove_nothing(gate: Gate, tmp_path: Path) -> None:
    assert (gate().status, gate("nowhere").status) == (4, 2)
    (tmp_path / "reports").mkdir()
    done = gate()
    assert done.status == 4
    assert "no report in this folder" in done.err


def test_an_exemption_that_has_expired_since_the_run_does_not_pass(gate: Gate, tmp_path: Path) -> None:
    exempted = result("loss.nan@always", "ignored", reason="on purpose")

    def exemption(day: datetime.date) -> list[dict[str, str]]:
        return [{"mode": "loss.nan", "reason": "on purpose", "expires": str(day)}]

    today = datetime.date.today()
    _whole(tmp_path / "reports", exempted, exemptions=exemption(today))
    assert gate().status == 0
    _whole(tmp_path / "reports", exempted, exemptions=exemption(today - datetime.timedelta(days=1)))
    done = gate()
    assert done.status == 1
    assert "the exemption of loss.nan (on purpose) expired" in done.out


def test_a_share_of_a_campaign_is_no_campaign(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports", shard="1/2")
    done = gate()
    assert done.status == 4
    assert "faultlab merge" in done.out


def test_mutants_alone_are_held_to_their_score(gate: Gate, tmp_path: Path) -> None:
    found = mutated(mutant("detected"), mutant("silent", line=2))
    found.demands = Demands(mutants=0.5)
    run_folder(tmp_path / "reports", found)
    (tmp_path / "reports" / "made-up" / "plan.json").unlink()
    found.reasons, found.passed = [], True
    (tmp_path / "reports" / "made-up" / "report.json").write_text(json.dumps(found.to_json()))
    assert gate().status == 0
    found.demands = Demands(mutants=0.6)
    (tmp_path / "reports" / "made-up" / "report.json").write_text(json.dumps(found.to_json()))
    done = gate()
    assert done.status == 4
    assert "its gate lacks the reason 'mutants: score 0.500 is below 0.6'" in done.out


def _alone(out: Path, found: Report) -> None:
    """Writes a report that `faultlab mutate` came to, with no campaign beside it."""
    found.passed = not found.reasons
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(found.to_json()))


@pytest.mark.parametrize("demands", [{"coverage": 0.5}, {"silent": {"critical": 0}}, {"latency": 3}])
def test_mutants_alone_do_not_reach_what_is_asked_of_faults(gate: Gate, tmp_path: Path, demands: Any) -> None:
    _alone(tmp_path / "reports/made-up", replace(mutated(mutant("detected")), demands=Demands(**demands)))
    done = gate()
    assert done.status == 4
    assert f"no fault was injected, but the gate demands {next(iter(demands))}" in done.out


def test_the_command_line_asks_mutants_alone_for_faults_too(gate: Gate, tmp_path: Path) -> None:
    _alone(tmp_path / "reports/made-up", mutated(mutant("detected")))
    assert gate().status == 0
    assert gate("--fail-under", "0.5").status == 4


def test_a_share_of_the_mutants_is_not_all_of_them(gate: Gate, tmp_path: Path) -> None:
    _alone(tmp_path / "reports/made-up", mutated(mutant("detected"), shard="1/2"))
    done = gate()
    assert done.status == 4
    assert "shard 1/2 of the mutants" in done.out


def test_a_score_that_is_asked_for_needs_mutants_that_count(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports", demands=Demands(mutants=0.5))
    done = gate()
    assert done.status == 4, "the mutants were left out, or could not be made"
    assert "the gate demands a score of 0.5, but there is none" in done.out
    none = replace(mutated(mutant("no_effect")), demands=Demands(mutants=0.5))
    none.reasons = check_mutants(none, 0.5)
    assert texts(none.reasons) == ["mutants: inconclusive: the gate demands a score of 0.5, but no mutant counts"]
    none.mutation = replace(none.mutation or Mutation(), since="main")
    assert check_mutants(none, 0.5) == [], "nothing may have been changed"


@pytest.mark.parametrize("left", ["plan.json", "previous.json", "logs"])
def test_a_run_that_came_to_no_report_is_not_passed_over(gate: Gate, tmp_path: Path, left: str) -> None:
    _whole(tmp_path / "reports")
    broken = tmp_path / "reports" / "killed"
    broken.mkdir()
    assert gate().status == 0, "a folder of something else"
    (broken / left).mkdir()
    done = gate()
    assert done.status == 4
    assert "killed: inconclusive: the run was not completed" in done.out
    assert gate("reports/made-up").status == 0
    shutil.rmtree(tmp_path / "reports" / "made-up")
    done = gate()
    assert (done.status, done.err[:15]) == (4, "reports/killed:"), "it is said of which alone too"
    run_folder(broken, Report("tests", faults=[DETECTED]))
    done = gate("reports/killed")
    assert done.status == 4, "what tests left within a run folder is not the run's report"
    assert "was not completed" in done.err


def test_the_report_of_a_scenario_that_is_no_more_does_not_pass(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    file = tmp_path / "scenarios" / "made-up.yaml"
    file.touch()
    _whole(tmp_path / "reports", target={"scenario": "scenarios/made-up.yaml"})
    assert gate().status == 0
    file.unlink()
    done = gate()
    assert done.status == 4
    assert "scenarios/made-up.yaml no longer exists" in done.out
    file.parent.rmdir()
    assert gate().status == 0, "judged where the project is not"


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf"])
def test_a_demand_that_is_no_number_is_refused(gate: Gate, tmp_path: Path, number: str) -> None:
    _whole(tmp_path / "reports")
    assert gate(f"--fail-under={number}").status == 2


def test_of_two_reports_of_one_scenario_none_is_accepted(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "one")
    _whole(tmp_path / "two")
    asked = ("--baseline", "accepted.json", "--accept", "--reason", "by design", "--expires", "2999-01-01")
    done = gate("one", "two", *asked)
    assert done.status == 2
    assert "two reports of the scenario 'made-up'" in done.err


@pytest.mark.parametrize("reason", ["", "   ", " a "])
def test_a_reason_says_something(gate: Gate, tmp_path: Path, reason: str) -> None:
    _whole(tmp_path / "reports")
    done = gate("--baseline", "accepted.json", "--accept", "--reason", reason, "--expires", "2999-01-01")
    assert done.status == 2
    assert "Give the reason" in done.err


def test_what_was_accepted_is_asked_for_by_name(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports")
    asked = ("--baseline", "reports/accepted.json")
    assert (done := gate(*asked)).status == 2
    assert "--accept" in done.err
    assert (done := gate(*asked, "--accept")).status == 2
    assert "not detected: made-up: a.silent" in done.err
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0
    assert (done := gate(*asked, "--accept")).status == 0, "nothing is new"
    assert "unchanged" in done.out
    _whole(tmp_path / "reports", result("b.new@always", "silent"))
    done = gate(*asked, "--json")
    told = json.loads(done.out)
    assert (done.status, told["exit_code"], told["passed"]) == (1, 1, False)
    assert told["reports"][0]["reasons"] == ["baseline: b.new is silent, which is not accepted in the baseline"]
    assert told["reports"][0]["kinds"] == ["baseline"]


def test_a_scenario_that_was_deleted_is_missed(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports")
    run_folder(tmp_path / "reports", Report("another", faults=[DETECTED]))
    asked = ("--baseline", "accepted.json")
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0
    done = gate("reports/another", *asked)
    assert done.status == 1
    assert "there is no report of the scenario 'made-up'" in done.out


ACCEPT = ("--accept", "--reason", "by design", "--expires", "2999-01-01")


def test_what_a_command_has_made_up_is_neither_judged_nor_accepted(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports")
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
    _whole(
        tmp_path / "reports",
        reasons=[Reason(ReasonKind.BASELINE, "a.silent is silent, which is not accepted in the baseline")],
    )
    asked = ("--baseline", "accepted.json")
    assert gate().status == 1
    assert gate(*asked, "--accept", "--reason", "by design", "--expires", "2999-01-01").status == 0
    assert gate(*asked).status == 0


def test_what_proves_nothing_can_not_be_accepted(gate: Gate, tmp_path: Path) -> None:
    _whole(tmp_path / "reports", result("a.b@always", "error"))
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
    _whole(before)
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

"""What the gate demands of reports and of mutants, and the status that it ends with."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Report
from faultlab.core.source_mutation import Mutation
from faultlab.gate.demands import check_mutants
from tests.gate.reports import DETECTED, Gate, whole
from tests.support import mutant, mutated, report, result, run_folder


def test_reports_pass_by_their_own_demands(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports", demands=Demands(coverage=0.5))
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
    folder = whole(tmp_path / "reports", demands=Demands(coverage=0.6)).parent
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
    whole(tmp_path / "reports")
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


@pytest.mark.parametrize("status", ["error", "timeout", "not_activated"])
def test_what_is_inconclusive_does_not_pass(gate: Gate, tmp_path: Path, status: str) -> None:
    whole(tmp_path / "reports", result("a.b@always", status))
    assert gate().status == 4


def test_a_canary_that_nobody_detected_does_not_pass(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports", reasons=[Reason(ReasonKind.CANARY, "a step that always raises was not detected")])
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
    whole(tmp_path / "reports", exempted, exemptions=exemption(today))
    assert gate().status == 0
    whole(tmp_path / "reports", exempted, exemptions=exemption(today - datetime.timedelta(days=1)))
    done = gate()
    assert done.status == 1
    assert "the exemption of loss.nan (on purpose) expired" in done.out


def test_a_share_of_a_campaign_is_no_campaign(gate: Gate, tmp_path: Path) -> None:
    whole(tmp_path / "reports", shard="1/2")
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
    whole(tmp_path / "reports", demands=Demands(mutants=0.5))
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
    whole(tmp_path / "reports")
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
    whole(tmp_path / "reports", target={"scenario": "scenarios/made-up.yaml"})
    assert gate().status == 0
    file.unlink()
    done = gate()
    assert done.status == 4
    assert "scenarios/made-up.yaml no longer exists" in done.out
    file.parent.rmdir()
    assert gate().status == 0, "judged where the project is not"


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf"])
def test_a_demand_that_is_no_number_is_refused(gate: Gate, tmp_path: Path, number: str) -> None:
    whole(tmp_path / "reports")
    assert gate(f"--fail-under={number}").status == 2

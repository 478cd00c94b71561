"""Prescriptions: found, proven by a second campaign, and written into the scenario as its author would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultlab.campaign.campaign import Options
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.prescribing import Chosen, Prescriber, Prescription, thorough
from faultlab.cli import prescribe_command
from faultlab.config.scenario import load
from faultlab.config.scenario_editor import add_guards, lines
from faultlab.config.variations import VARIATIONS, NotVariedError, varied
from faultlab.core.report import FaultResult
from faultlab.engines import create
from faultlab.errors import UsageError
from tests import warm
from tests.support import report, result, small

ROOT = Path(__file__).parents[2]
HEAD = "schema: 1\nname: s\nmodule: {class_path: scenarios.digits.model.LitDigits}\n"
GUARDS = [
    {"class_path": "faultlab.guards.StepsTaken"},
    {
        "class_path": "faultlab.guards.KnownGood",
        "init_args": {"profile": "a b/known: good.json", "leave_out": ["loss"]},
    },
]
SELECT = ["return.none", "loss.nan", "optimizer.drops-update", "callback.disabled"]


def prescribe(file: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    select = [part for mode in SELECT for part in ("--select", mode)]
    return warm.run(["-m", "faultlab", "prescribe", file, "--seeds", "3", "--out", out, *more, *select], cwd=ROOT)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """A scenario of one's own, beside those of the project since it imports their code."""
    file = ROOT / "scenarios" / "digits" / "prescribing-test.yaml"
    shutil.copyfile(ROOT / "scenarios" / "digits" / "scenario.yaml", file)
    yield file
    file.unlink()
    file.with_suffix(".known-good.json").unlink(missing_ok=True)


@pytest.mark.nightly(reason="the digits with all their guards; the quick ring has the prescription of a loop")
def test_a_prescription_is_proven_and_written(mine: Path, tmp_path: Path) -> None:
    done = prescribe(mine, tmp_path, "--write", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["proven"]
    assert not found["broken"]
    assert not found["false_alarms"]
    promised = {fault for guard in found["guards"] for fault in guard["detects"]}
    assert promised == {"return.none@always", "loss.nan@step=8", "optimizer.drops-update@always"}
    assert found["coverage"]["before"]["all"] < found["coverage"]["after"]["all"] == 1.0
    written = [guard.class_path for guard in load(mine).guards]
    assert written == [guard["class_path"] for guard in found["guards"]]
    after = json.loads((tmp_path / "digits-prescribed" / "selected" / "report.json").read_text())
    assert len(after["baseline"]["seeds"]) >= 6
    quiet = json.loads((tmp_path / load(mine).name / "selected" / "guards.json").read_text())["quiet_runs"]
    watched = {int(run.split("-")[1]) for run in quiet if run.startswith("clean-")}
    assert set(after["baseline"]["seeds"]) <= watched, "no seed judges the set that did not judge the single guards"
    detected = {fault["mode"] for fault in after["faults"] if fault["status"] == "detected"}
    assert detected == {"return.none", "loss.nan", "optimizer.drops-update"}
    assert after["baseline"]["false_alarms"] == []


@pytest.mark.nightly(reason="a campaign of its own; test_merge.py has how such findings are joined")
def test_the_report_says_what_each_guard_would_have_added(tmp_path: Path) -> None:
    run = ["-m", "faultlab", "run", small(tmp_path), "--select", "return.none"]
    warm.run([*run, "--out", tmp_path, "-q"], cwd=ROOT).check_returncode()
    (fault,) = json.loads((tmp_path / "small" / "selected" / "report.json").read_text())["faults"]
    first = next(found for found in fault["prescription"] if found["guard"] == "faultlab.guards.StepsTaken")
    assert first["step"] == 0
    assert first.keys() == {"guard", "step", "cost"}
    guards = json.loads((tmp_path / "small" / "selected" / "guards.json").read_text())
    assert guards["false_alarms"] == []
    assert guards["broken"] == {}
    assert guards["disturbed"] == ""
    assert len(guards["quiet_runs"]) >= 4
    page = (tmp_path / "small" / "selected" / "index.html").read_text(encoding="utf-8")
    assert "faultlab.guards.StepsTaken" in page
    assert "of the 1 silent" in page or "of the 1 only warned of" in page


@pytest.mark.nightly(reason="the digits with all their guards; test_merge.py has how such findings are joined")
def test_a_guard_that_alone_detects_something_is_tried_out(tmp_path: Path) -> None:
    run = ["-m", "faultlab", "run", "scenarios/digits/guarded.yaml", "--out", tmp_path, "-q"]
    asked = ["--select", "loss.nan", "--select", "mode.training-in-validation"]
    warm.run([*run, *asked], cwd=ROOT).check_returncode()
    yours = json.loads((tmp_path / "digits-guarded" / "selected" / "guards.json").read_text())["yours"]
    worth = {entry["guard"]: entry for entry in yours}
    assert worth["EvaluationMode"]["alone"] == ["mode.training-in-validation@always"]
    assert worth["EvaluationMode"]["proven"] is True
    assert worth["BatchContract"]["modes"] == []


@pytest.mark.parametrize(
    ("guards", "kept"),
    [
        ("", []),
        ("guards: []\n", []),
        ("guards: []   # none yet\nmonitor: {metric: val_loss}\n", []),
        (
            "guards:\n  - {trainer_flag: {detect_anomaly: true}}  # slow\n\n# the rest\nmonitor: {metric: val_loss}\n",
            [None],
        ),
        ("guards:\n- class_path: a.B\n  init_args: {x: 1}\n# end\n", ["a.B"]),
        ("guards: [{class_path: a.B}, {class_path: a.C}]\nmonitor: {metric: val_loss}\n", ["a.B", "a.C"]),
    ],
)
def test_guards_are_added_whatever_the_layout_and_the_rest_stays(tmp_path: Path, guards: str, kept: list[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + guards)
    add_guards(file, GUARDS)
    found = load(file).guards
    assert [guard.class_path for guard in found] == [*kept, *(guard["class_path"] for guard in GUARDS)]
    assert found[-1].init_args == GUARDS[1]["init_args"]
    text = file.read_text()
    assert text.startswith(HEAD)
    for comment in ("# slow", "# the rest", "# end"):
        assert (comment in guards) == (comment in text)
    assert ("monitor" in guards) == (load(file).monitor is not None)


def test_a_file_that_can_not_be_added_to_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + "guards: &own [{class_path: a.B}]\n")
    old = file.read_text()
    with pytest.raises(UsageError, match="by hand"):
        add_guards(file, [{"class_path": "not a path"}])
    assert file.read_text() == old


def test_a_disk_that_fills_up_leaves_the_users_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        add_guards(file, GUARDS)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("s.yaml", HEAD)]


def test_the_lines_to_paste_are_yaml_in_one_line_each() -> None:
    assert yaml.safe_load("\n".join(lines(GUARDS))) == GUARDS
    assert lines(GUARDS)[0] == "- {class_path: faultlab.guards.StepsTaken}"


SCENARIO: dict[str, Any] = {
    "module": {"class_path": "scenarios.digits.model.LitDigits", "init_args": {"learning_rate": 0.01}},
    "data": {"class_path": "scenarios.digits.model.DigitsData"},
    "trainer": {"max_epochs": 2},
}


def test_a_variation_changes_what_it_names_and_a_default_too() -> None:
    half = varied(SCENARIO, VARIATIONS["half the learning rate"])
    assert half["module"]["init_args"] == {"learning_rate": 0.005}
    assert varied(SCENARIO, VARIATIONS["twice the batch size"])["data"]["init_args"] == {"batch_size": 128}
    assert varied(SCENARIO, VARIATIONS["twice as long"])["trainer"] == {"max_epochs": 4}
    accumulated = varied(SCENARIO, VARIATIONS["gradients of two batches accumulated"])
    assert accumulated["trainer"]["accumulate_grad_batches"] == 2
    assert SCENARIO["trainer"] == {"max_epochs": 2}


def test_a_scenario_without_such_an_argument_is_not_varied() -> None:
    with pytest.raises(NotVariedError, match="batch_size"):
        varied({"module": {"class_path": "builtins.dict"}, "trainer": {}}, VARIATIONS["half the batch size"])
    with pytest.raises(NotVariedError, match="max_epochs"):
        varied({"module": {"class_path": "builtins.dict"}, "trainer": {}}, VARIATIONS["twice as long"])


def test_the_ends_of_lines_stay_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes((HEAD + "guards:\n  - {class_path: a.B}\nmonitor: {metric: a}\n").replace("\n", "\r\n").encode())
    add_guards(file, GUARDS)
    written = file.read_bytes()
    assert written.count(b"\r\n") == written.count(b"\n") == 8
    assert len(load(file).guards) == 3


def test_what_is_to_be_pasted_names_the_record_that_is_kept_beside_the_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, recorded = tmp_path / "s.yaml", tmp_path / "out" / "s" / "known-good-runs.json"
    file.write_text(HEAD)
    recorded.parent.mkdir(parents=True)
    recorded.write_text("{}")
    chosen = Chosen("KnownGood", {"profile": str(recorded)}, 0.01, ["loss.nan@step=1", "return.none@always"])
    before = report(result("loss.nan@step=1", "silent"), result("return.none@always", "warned"))
    found = prescribe_command._write(load(file), Prescription(before, Advice(), [chosen]), tmp_path / "out")
    prescribe_command._show(load(file), found, written=True, out=tmp_path / "out")
    said = capsys.readouterr().out
    kept = tmp_path / "s.known-good.json"
    assert kept.read_text() == "{}"
    assert [guard.init_args for guard in load(file).guards] == [{"profile": kept.name}], "as seen from the scenario"
    (guard,) = load(file).for_victims()["guards"]
    assert guard["init_args"] == {"profile": str(kept)}, "wherever the command is given"
    assert (said.count(f"profile: {kept.name}"), said.count(str(recorded))) == (1, 0)
    assert f"profile={os.path.relpath(kept)!r}" in said
    assert "1 guard; added to" in said
    assert "# 1 of 1 silent fault and 1 that only caused a warning; overhead 1.0 %" in said


@pytest.mark.parametrize("chosen", [[], [Chosen("Modes", {}, 0.01, ["loss.nan@step=1"])]], ids=["nothing", "one"])
def test_guards_that_never_looked_are_told_with_the_reason(
    chosen: list[Chosen], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD)
    why = "Wolf looked 0 times, and left looks out: [dark] (3x)"
    found = Prescription(report(result("loss.nan@step=1", "silent")), Advice(idle={"Wolf": why}), chosen)
    prescribe_command._show(load(file), found, written=False, out=tmp_path / "out")
    assert f"never active: {why}\n" in capsys.readouterr().out
    assert prescribe_command._plain(found, load(file))["idle"] == {"Wolf": why}


class Impatient:
    """Interrupts a study once its campaign of this name has so many verdicts; counts the verdicts of each campaign."""

    def __init__(self, name: str = "", patience: int = 0) -> None:
        self.name, self.patience = name, patience
        self.now = ""
        self.ran: dict[str, int] = {}
        self.kept: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None

    def started(self, scenario: str) -> None:
        self.now = scenario

    def settled(self, result: FaultResult) -> None:
        self.kept[self.now] = self.kept.get(self.now, 0) + 1

    def judged(self, result: FaultResult) -> None:
        self.ran[self.now] = self.ran.get(self.now, 0) + 1
        if self.now == self.name and self.ran[self.now] == self.patience:
            raise KeyboardInterrupt


@pytest.mark.nightly(reason="three prescriptions; test_records.py has how verdicts are taken over")
@pytest.mark.usefixtures("from_the_root")
def test_an_interrupted_prescription_resumes_in_the_campaign_that_it_was_in(tmp_path: Path) -> None:
    scenario = load(small(tmp_path))
    select = ("loss.nan@step=4", "optimizer.drops-update", "gradient.zero", "label.inverted")

    def prescribe_with(listener: Impatient, resume: bool) -> Prescription:
        engine = create("fork", 1)
        try:
            options = Options(select, resume=resume, out=tmp_path / "out", watch=thorough(3))
            return Prescriber(scenario, engine, options, listener).prescribe()  # type: ignore[arg-type]
        finally:
            engine.close()

    first = Impatient("small", 2)
    assert prescribe_with(first, resume=False).after is None
    second = Impatient("small-prescribed", 1)
    prescribe_with(second, resume=True)
    assert (second.kept["small"], second.ran["small"]) == (2, 2)
    third = Impatient()
    found = prescribe_with(third, resume=True)
    assert (third.kept["small"], third.ran.get("small", 0)) == (4, 0)
    assert (third.kept["small-prescribed"], third.ran["small-prescribed"]) == (1, 3)
    assert found.proven
    assert found.after is not None
    assert found.broken == []
    assert {fault for one in found.chosen for fault in one.detects} >= {
        "loss.nan@step=4",
        "optimizer.drops-update@always",
    }


def test_a_verdict_that_is_taken_over_brings_no_false_alarm_along() -> None:
    advice = Advice({})
    advice.alarms = {("LossFalls", "slow"): ["clean-7"]}
    both = [{"guard": guard, "check": check, "step": 1, "latency": 0, "names_cause": True, "message": ""}
            for guard, check in (("LossFalls", "slow"), ("LossFalls", "rising"))]  # fmt: skip
    advice.note("loss.nan@once", both)
    assert [seen.check for seen in advice.detected["loss.nan@once"]] == ["rising"]

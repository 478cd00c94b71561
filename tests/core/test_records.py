"""What a campaign leaves on disk, and what a resumed one takes over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign.campaign import Options
from faultlab.campaign.plan import digest
from faultlab.core import atomic_write
from faultlab.core.fault import Fault
from faultlab.core.orders import Planned
from faultlab.core.records import Records
from faultlab.core.report import FaultResult
from faultlab.core.results import Outcome
from faultlab.errors import InconclusiveError
from faultlab.gate import evidence
from tests.gate.reports import whole
from tests.support import detection, report, result

PLAN = [
    Planned(Fault.parse("a.one@always"), at=0),
    Planned(Fault.parse("a.two@step=3"), at=3),
    Planned(Fault.parse("a.three@always"), "fit"),
]
ONE = result("a.one@always", "detected", detected_by=[detection()], warnings=["watch\u2028out\x85 \ud800"])
TWO = result("a.two@step=3", "silent", reason="nobody looked")
THREE = result("a.three@always", "warned")


def _campaign(
    folder: Path, *results: FaultResult, digest: str = "same", resume: bool = False
) -> dict[str, FaultResult]:
    records = Records(folder)
    known = dict(records.begin(PLAN, digest, Options(seed=7), resume))
    for found in results:
        records.add(found)
    return known


def test_the_plan_is_on_disk_before_the_first_outcome(tmp_path: Path) -> None:
    Records(tmp_path).begin(PLAN, "same", Options(seed=7), resume=False)
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert (plan["schema"], plan["digest"], plan["seed"]) == (1, "same", 7)
    assert plan["faults"][1] == {"id": "a.two@step=3", "at": 3, "status": "", "reason": ""}
    assert (tmp_path / "outcomes.jsonl").read_text() == ""


def test_every_verdict_is_a_line_on_disk_at_once(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.begin(PLAN, "same", Options(), resume=False)
    for number, found in enumerate((ONE, TWO), start=1):
        records.add(found)
        lines = (tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").split("\n")
        assert len(lines) == number + 1
        line = json.loads(lines[number - 1])
        line.pop("digest")
        assert FaultResult.from_json(line) == found


@pytest.mark.parametrize("status", ["error", "timeout", "not_activated"])
def test_what_was_inconclusive_is_tried_again_on_resume(tmp_path: Path, status: str) -> None:
    _campaign(tmp_path, ONE, result(TWO.id, status))
    assert _campaign(tmp_path, resume=True) == {ONE.id: ONE}


def test_a_resumed_campaign_takes_over_what_was_judged_and_adds_the_rest(tmp_path: Path) -> None:
    _campaign(tmp_path, ONE, TWO)
    assert _campaign(tmp_path, ONE, TWO, THREE, resume=True) == {ONE.id: ONE, TWO.id: TWO}
    assert _campaign(tmp_path, resume=True) == {ONE.id: ONE, TWO.id: TWO, THREE.id: THREE}
    assert len((tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")) == 3


def test_nothing_is_taken_over_unless_asked(tmp_path: Path) -> None:
    _campaign(tmp_path, ONE)
    assert _campaign(tmp_path) == {}
    assert _campaign(tmp_path, resume=True) == {}, "the old outcomes are gone"


def test_nothing_is_taken_over_from_another_plan(tmp_path: Path) -> None:
    _campaign(tmp_path, ONE)
    assert _campaign(tmp_path, digest="another", resume=True) == {}
    assert (tmp_path / "outcomes.jsonl").read_text() == ""


def test_nothing_is_taken_over_where_there_is_nothing(tmp_path: Path) -> None:
    assert _campaign(tmp_path, resume=True) == {}


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_line_that_was_cut_short_is_dropped_and_nothing_else(tmp_path: Path, cut: int) -> None:
    _campaign(tmp_path, ONE, TWO)
    file = tmp_path / "outcomes.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    kept = {ONE.id: ONE} if cut > 1 else {ONE.id: ONE, TWO.id: TWO}
    assert _campaign(tmp_path, resume=True) == kept
    _campaign(tmp_path, TWO, resume=True)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("junk", ["", "[]", "5", "{}", '{"id": "x"}', "\x00", "null"])
def test_a_line_that_is_no_verdict_is_dropped_and_nothing_else(tmp_path: Path, junk: str) -> None:
    _campaign(tmp_path, ONE, TWO)
    file = tmp_path / "outcomes.jsonl"
    first, second, _ = file.read_text(encoding="utf-8").split("\n")
    file.write_text(f"{first}\n{junk}\n{second}\n", encoding="utf-8")
    assert _campaign(tmp_path, resume=True) == {ONE.id: ONE, TWO.id: TWO}


def test_a_verdict_that_was_edited_is_not_taken_over(tmp_path: Path) -> None:
    _campaign(tmp_path, ONE, TWO)
    file = tmp_path / "outcomes.jsonl"
    text = file.read_text(encoding="utf-8")
    edited = text.replace(f'"activations": {ONE.activations}', '"activations": 99', 1)
    assert edited != text
    file.write_text(edited, encoding="utf-8")
    assert _campaign(tmp_path, resume=True) == {TWO.id: TWO}


@pytest.mark.parametrize("left", ["tests.json", "guards.json", "curves.json", "index.html", "junit.xml"])
def test_what_an_earlier_campaign_concluded_does_not_stand_beside_what_this_one_does(tmp_path: Path, left: str) -> None:
    (tmp_path / left).touch()
    Records(tmp_path).clear(resume=False, formats=["junit.xml"])
    assert not (tmp_path / left).exists()


@pytest.mark.parametrize("plan", ["", "[]", "{}", "5", "\x00"])
def test_a_plan_that_is_none_is_no_plan_to_resume(tmp_path: Path, plan: str) -> None:
    _campaign(tmp_path, ONE)
    (tmp_path / "plan.json").write_text(plan)
    assert _campaign(tmp_path, resume=True) == {}


def test_a_campaign_killed_at_its_start_does_not_pass_old_outcomes_off_as_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _campaign(tmp_path, ONE)
    writing = atomic_write.writing
    killed_after: list[Path] = []

    def write_once(file: Path) -> Any:
        if killed_after:
            raise KeyboardInterrupt
        killed_after.append(file)
        return writing(file)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_write, "writing", write_once)
        with pytest.raises(KeyboardInterrupt):
            _campaign(tmp_path, digest="another")
    assert _campaign(tmp_path, digest="another", resume=True) == {}


def test_the_digest_changes_with_anything_that_the_results_depend_on() -> None:
    scenario = {"module": {"class_path": "a.B", "init_args": {"x": 1}}}
    same = digest(PLAN, scenario, 0, "0.1.0")
    assert digest(list(PLAN), json.loads(json.dumps(scenario)), 0, "0.1.0") == same
    others = [
        digest(PLAN[:2], scenario, 0, "0.1.0"),
        digest([*PLAN[:2], Planned(Fault.parse("a.three@always"), "construct")], scenario, 0, "0.1.0"),
        digest(PLAN, {"module": {"class_path": "a.B", "init_args": {"x": 2}}}, 0, "0.1.0"),
        digest(PLAN, scenario, 1, "0.1.0"),
        digest(PLAN, scenario, 0, "0.2.0"),
    ]
    assert len({same, *others}) == 6


def test_what_a_victim_printed_is_kept_under_its_faults_name(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.log(Outcome("label.noisy:fraction=0.3@step=8", output="said \ud800 so"))
    records.log(Outcome("label.quiet", output=""))
    (file,) = (tmp_path / "logs").iterdir()
    assert file == Path(records.log_file("label.noisy:fraction=0.3@step=8"))
    assert file.name == "label.noisy_fraction=0.3@step=8.log"
    assert file.read_text() == "said ? so"


def test_the_report_is_written_whole_and_the_outcomes_stay(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.begin(PLAN, "same", Options(), resume=False)
    records.add(ONE)
    records.write_report(report(ONE))
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["faults"][0]["id"] == ONE.id
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs", "outcomes.jsonl", "plan.json", "report.json"]


def test_a_campaign_that_was_asked_for_by_mistake_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    records = Records(folder)
    files = {"report.json": "new", "index.html": "page", "previous.json": "old", "summary.md": "words"}
    for name, text in files.items():
        (folder / name).write_text(text)
    records.clear(resume=False, formats=["summary.md"])
    assert not (folder / "report.json").exists()
    assert (folder / "previous.json").read_text() == "new"
    records.restore()
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == files


def test_a_campaign_that_is_killed_can_leave_the_earlier_conclusions_in_place(tmp_path: Path) -> None:
    files = {"report.json": "new", "index.html": "page", "previous.json": "old", "summary.md": "words"}
    records = Records(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    records.clear(resume=False, formats=["summary.md"], keep=True)
    records.forget()
    records.begin(PLAN, "same", Options(), resume=False)
    left = {name: (tmp_path / name).read_text() for name in files}
    assert left == {**files, "previous.json": "new"}


def test_the_gate_does_not_accept_a_report_beside_the_plan_of_a_later_campaign(tmp_path: Path) -> None:
    file = whole(tmp_path)
    assert evidence.read(file, whole=True)
    records = Records(file.parent)
    records.clear(resume=False, formats=[], keep=True)
    records.begin(PLAN, "same", Options(), resume=False)
    with pytest.raises(InconclusiveError, match=r"the run that wrote the plan\.json beside it was not completed"):
        evidence.read(file, whole=True)


def test_a_campaign_that_runs_leaves_the_earlier_report_for_comparison_alone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    (tmp_path / "report.json").write_text("new")
    (tmp_path / "index.html").write_text("page")
    records.clear(resume=False, formats=[])
    records.forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "previous.json"]

"""The remedy on the page, the curves that look right, the groups by symptom, and how large a page may be."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.catalogue import index
from faultlab.core.detection import Prescribed
from faultlab.core.report import FaultResult, Harm, Report, Status
from faultlab.report.html import document
from faultlab.report.html.charts import Curves
from faultlab.report.html.lessons import by_symptom, lessons
from faultlab.report.html.lookalikes import MOST, distance, lookalikes
from faultlab.report.remedy import FEW, arguments, code, remedy, watching_code
from faultlab.report.text import percent
from tests.report.pages import HARMFUL, HARMLESS, fault, found, sample, written
from tests.support import run_folder

CLEAN = [(step, 2.0 / (step + 1)) for step in range(20)]
NEAR = [(step, value + 0.05) for step, value in CLEAN]


def silent(mode: str, *guards: str, harm: Harm | None = HARMFUL) -> FaultResult:
    return fault(
        mode, Status.SILENT, harm=harm, prescription=[Prescribed(f"faultlab.guards.{g}", 1, 0.01) for g in guards]
    )


def test_the_guards_are_taken_in_the_order_of_what_the_others_miss() -> None:
    faults = [silent("a.one", "A", "B"), silent("a.two", "A", "B"), silent("a.three", "A"), silent("a.four", "C")]
    report = Report("r", faults=[*faults, fault("a.five", Status.DETECTED), silent("a.six")])
    made = remedy(report, {})
    assert made is not None
    assert [(one.guard, one.faults, one.coverage) for one in made.added] == [("A", 3, 4 / 6), ("C", 1, 5 / 6)]
    assert (made.before, made.silent, made.beyond) == (1 / 6, 5, 1)


def test_what_only_a_guard_with_recorded_runs_detects_is_not_beyond_every_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report("r", faults=[silent("a.one", "A"), silent("a.two", "Known"), silent("a.three")])
    made = remedy(report, {"Known": {"profile": "runs.json"}})
    assert made is not None
    assert [one.guard for one in made.added] == ["A"]
    assert (made.recorded, made.recorders, made.beyond) == (1, ["Known"], 1)
    monkeypatch.setattr(document, "watched", lambda *found: None)
    run_folder(tmp_path, report)
    advice = {"arguments": {"Known": {"profile": "runs.json"}}, "false_alarms": []}
    (tmp_path / "r" / "guards.json").write_text(json.dumps(advice))
    page = document.write(report, tmp_path).read_text(encoding="utf-8")
    assert "Known detects 1 silent fault that no other guard detects, by comparing a training with recorded" in page
    assert "No ready-made guard detects the other 1 silent fault" in page


def test_the_guards_for_the_trainer_of_transformers_are_one_of_its_callbacks() -> None:
    report = Report("r", faults=[silent("a.one", "A")])
    report.target["framework"] = "torch"
    made = remedy(report, {})
    assert made is not None
    assert "from faultlab.guards import A, watch\n\nwith watch(" in made.code
    assert made.code.endswith("\nprint(watching.report())  # what the guards could not look at, and why")
    compile(made.code, "snippet", "exec")
    report.versions["transformers"] = "5.24.0"
    made = remedy(report, {})
    assert made is not None
    assert made.code == "from faultlab.guards import A, hf\n\nTrainer(..., callbacks=[hf([A()])])"


def test_guards_of_a_loop_are_not_given_the_name_of_a_metric_that_they_could_not_see() -> None:
    given = {"A": {"metric": "val_rmse", "mode": "min", "epochs": 3}, "B": {"metric": "val_rmse"}}
    assert "\n    A(epochs=3),\n    B(),\n]) as watching:\n" in watching_code(given)
    assert "A(metric='val_rmse', mode='min', epochs=3)" in code(["A", "B"], given)


def test_among_equals_the_guard_for_harmful_faults_comes_first_and_then_the_cheaper_one() -> None:
    report = Report("r", faults=[silent("a.one", "A", harm=HARMLESS), silent("a.two", "B")])
    made = remedy(report, {})
    assert made is not None
    assert [(one.guard, one.harmful) for one in made.added] == [("B", 1), ("A", 0)]
    costly = fault("a.one", Status.SILENT, prescription=[Prescribed("g.Dear", 1, 0.5), Prescribed("g.Cheap", 1, 0.1)])
    made = remedy(Report("r", faults=[costly]), {})
    assert made is not None
    assert made.added[0].guard == "Cheap"


def test_a_mode_is_covered_once_all_its_faults_are() -> None:
    faults = [fault("a.b", Status.SILENT, "step=1", prescription=[Prescribed("g.A", 1)]), silent("a.b", "B")]
    made = remedy(Report("r", faults=faults), {})
    assert made is not None
    assert [one.coverage for one in made.added] == [0, 1]


def test_a_guard_that_needs_recorded_runs_is_left_out_and_without_any_other_there_is_no_remedy() -> None:
    report = Report("r", faults=[silent("a.b", "KnownGood")])
    assert remedy(report, {"KnownGood": {"profile": "runs.json"}}) is None
    assert remedy(Report("r", faults=[silent("a.b")]), {}) is None


def test_the_python_to_paste_constructs_the_guards_as_the_campaign_did_without_checks_that_raise_false_alarms(
    tmp_path: Path,
) -> None:
    record = {
        "arguments": {"LossFalls": {"metric": "val_loss"}, "Labels": {}},
        "false_alarms": [{"guard": "Labels", "check": "spread", "runs": ["clean-2"]}],
    }
    (tmp_path / "guards.json").write_text(json.dumps(record))
    given = arguments(tmp_path)
    made = code(["LossFalls", "Labels"], given)
    ast.parse(made)
    assert made == (
        "from faultlab.guards import Labels, LossFalls\n\n"
        "Trainer(callbacks=[LossFalls(metric='val_loss'), Labels(leave_out=['spread'])])"
    )
    ast.parse(code([f"Guard{n}" for n in range(30)], {}))
    assert arguments(tmp_path / "missing") == {}
    (tmp_path / "guards.json").write_text("[]")
    assert arguments(tmp_path) == {}


def test_the_page_begins_with_the_remedy_and_then_shows_curves_that_look_right(tmp_path: Path) -> None:
    guards = ["A", "B", "C", "D"]
    faults = [silent(f"label.m{n}", guard) for n, guard in enumerate(guards)]
    _curves(tmp_path / "digits", {each.id: NEAR for each in faults})
    text = written(sample(faults=faults), tmp_path).text
    assert "Add these 3 guards: coverage 0 % to 75 %" in text
    assert "Together they detect 3 of the 4 faults that your guards and tests miss, 3 of them harmful." in text
    assert f"{len(guards) - FEW} more guard: coverage 100 %" in text
    assert text.index("Add these 3") < text.index("Curves that look right") < text.index("Silent faults")


def test_without_a_guard_that_helps_no_remedy_is_shown(tmp_path: Path) -> None:
    text = written(sample(faults=[silent("a.b")]), tmp_path).text
    assert "coverage 0 % to" not in text
    assert "Curves that look right" not in text


def test_curves_look_alike_if_they_are_close_over_all_steps() -> None:
    near = [(step, value + 0.05) for step, value in CLEAN]
    assert distance(CLEAN, CLEAN) == 0
    assert distance(CLEAN, near) == pytest.approx(0.05 / 1.9)
    assert distance(CLEAN, near[:-1]) is None, "one that ends early is seen to"
    assert distance(CLEAN, [*near[:-1], (19, None)]) is None
    assert distance([(0, 1.0)] * 20, [(0, 1.0)] * 20) is None, "a flat curve has no range"


def test_a_curve_that_leaves_the_clean_one_at_its_end_is_no_lookalike(tmp_path: Path) -> None:
    beside = [(step, value + 0.15) for step, value in CLEAN]
    late = [(step, value + (0.6 if step >= 16 else 0.0)) for step, value in CLEAN]
    faults = [silent("a.beside"), silent("b.late")]
    _curves(tmp_path, dict(zip((each.id for each in faults), (beside, late), strict=True)))
    curves = Curves(tmp_path)
    assert distance(CLEAN, beside) == pytest.approx(0.15 / 1.9)
    assert distance(CLEAN, late) == pytest.approx(0.12 / 1.9), "closer on average"
    assert [one.mode for one in lookalikes(lessons(Report("r", faults=faults), {}, curves), curves)] == ["a.beside"]


def test_a_picture_that_shows_nothing_is_no_lookalike(tmp_path: Path) -> None:
    faults = [silent("a.same"), silent("b.near")]
    _curves(tmp_path, dict(zip((each.id for each in faults), (CLEAN, NEAR), strict=True)))
    curves = Curves(tmp_path)
    assert [one.mode for one in lookalikes(lessons(Report("r", faults=faults), {}, curves), curves)] == ["b.near"]


def test_each_family_and_each_symptom_has_one_lookalike_before_any_has_two(tmp_path: Path) -> None:
    gone = Harm("val_loss", 0.5, None, True)
    modes = [("a.one", HARMFUL), ("a.two", HARMFUL), ("b.one", HARMFUL), ("c.one", gone), ("d.one", gone)]
    far = silent("e.far")
    faults = [*(silent(mode, harm=harm) for mode, harm in modes), far]
    _curves(tmp_path, {**{each.id: NEAR for each in faults}, far.id: [(step, 9.0) for step, _ in CLEAN]})
    curves = Curves(tmp_path)
    shown = lookalikes(lessons(Report("r", faults=faults), {}, curves), curves)
    assert [one.mode for one in shown] == ["a.one", "b.one", "c.one", "a.two"]
    assert all(one.faults[0].charts for one in shown)
    many = [silent(f"{letter}.m") for letter in "abcdefgh"]
    _curves(tmp_path, {each.id: NEAR for each in many})
    assert len(lookalikes(lessons(Report("r", faults=many), {}, Curves(tmp_path)), Curves(tmp_path))) == MOST


def test_faults_of_one_symptom_share_one_picture_and_a_list(tmp_path: Path) -> None:
    gone = Harm("val_loss", 0.5, None, True)
    faults = [*(silent(f"loss.m{n}", harm=gone) for n in range(15)), silent("label.noisy")]
    _curves(tmp_path / "digits", {each.id: [(0, 1.0), (1, None)] for each in faults})
    found = lessons(Report("r", faults=faults), {}, Curves(tmp_path / "digits"))
    groups = by_symptom(found)
    assert [(group.symptom, len(group.lessons)) for group in groups] == [
        ("", 1),
        ("val_loss is no longer finite", 15),
    ]
    page = written(sample(faults=faults), tmp_path)
    assert "15 failure modes: val_loss is no longer finite" in page.text
    assert page.source.count("<figure") == 2
    assert [one.symptom for one in by_symptom(found[:2])] == [""], "two are no group"


def test_the_picture_of_a_symptom_shows_a_value_that_is_not_finite_if_any_does(tmp_path: Path) -> None:
    gone = Harm("val_loss", 0.5, None, True)
    faults = [silent(f"loss.m{n}", harm=gone) for n in range(4)]
    broken = [(0, 1.0), (1, None)]
    _curves(tmp_path, {each.id: broken if each.mode == "loss.m2" else CLEAN for each in faults})
    (group,) = by_symptom(lessons(Report("r", faults=faults), {}, Curves(tmp_path)))
    assert group.picture.mode == "loss.m2"


def test_the_page_has_the_date_the_commit_and_the_users_source_line(tmp_path: Path) -> None:
    mode = next(mode for mode in index.modes().values() if mode.method == "training_step")
    report = sample(faults=[silent(mode.id)])
    report.date, report.commit = "2026-11-30T01:36:00+00:00", {"id": "0123456789abcdef", "changed": True}
    report.target = {
        "file": "net.py",
        "line": 3,
        "methods": {"training_step": 7},
        "code": {"training_step": "def training_step(self, b):"},
    }
    page = written(report, tmp_path)
    for words in (
        "2026-11-30 01:36 UTC",
        "0123456789, with uncommitted changes",
        "net.py:7 def training_step(self, b):",
    ):
        assert words in page.text.replace("commit 0123456789 with", "0123456789, with")


def test_a_share_in_percent_is_all_or_nothing_only_where_it_is() -> None:
    assert [percent(share) for share in (0, 0.001, 0.41, 0.999, 1)] == [
        "0 %",
        "less than 1 %",
        "41 %",
        "more than 99 %",
        "100 %",
    ]


def test_a_page_of_two_hundred_and_fifty_faults_has_at_most_300_kilobytes(tmp_path: Path) -> None:
    modes = sorted(index.modes())[:250]
    harms = [HARMFUL, HARMLESS, Harm("val_loss", 0.5, None, True)]
    names = [f"Guard{n}" for n in range(8)]
    faults = [
        silent(mode, *names[:3], harm=harms[n % 3])
        if n % 3
        else fault(mode, Status.DETECTED, detected_by=[found("guard", name, message="m" * 300) for name in names[:3]])
        for n, mode in enumerate(modes)
    ]
    _curves(tmp_path / "digits", {each.id: CLEAN for each in faults if each.status is Status.SILENT})
    assert len(written(sample(faults=faults), tmp_path).source.encode()) < 300_000


def _curves(folder: Path, losses: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    content = {"metric": "val_loss", "clean": {"run": {"loss": CLEAN}}}
    (folder / "curves.json").write_text(
        json.dumps({**content, "faults": {fault: {"loss": loss} for fault, loss in losses.items()}})
    )

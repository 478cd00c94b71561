"""Shares of a campaign: together they are the whole, and what is no whole is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign.plan import share
from faultlab.catalogue import index
from faultlab.core import seal
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.fault import Fault, Trigger
from faultlab.core.orders import Planned
from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Baseline, Report
from faultlab.core.shard import Shard
from faultlab.core.source_mutation import Mutation
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate import evidence, merge, merge_artifacts
from tests.support import Called, call, detection, mutant, mutated, report, result, run_folder

GUARD = detection("guard", "Moves", names_cause=True)
FAULTS = [
    result("loss.nan@always", "detected", detected_by=[GUARD]),
    result("loss.zeroed@always", "silent"),
    result("return.none@step=3", "detected", detected_by=[GUARD]),
    result("return.none@always", "warned"),
    result("scheduler.missing@always", "not_applicable", reason="no scheduler"),
]
DEMANDS = Demands(coverage=0.5)
TIMING = {"import": 1.0, "faults": 2.5, "total": 3.5, "jobs": 2}


def _shares(out: Path, of: int = 2, change: Callable[[Report], None] = lambda found: None) -> list[Path]:
    folders = []
    for number in range(1, of + 1):
        shard = Shard(number, of)
        found = report(*shard.share(FAULTS), shard=str(shard), demands=DEMANDS, timing=dict(TIMING))
        if number == of:
            change(found)
        folders.append(run_folder(out / str(number), found))
    return folders


@pytest.mark.parametrize("of", [1, 2, 3, 50])
def test_shares_of_a_plan_hold_everything_once_in_its_order(of: int) -> None:
    faults = [Fault(id, trigger=Trigger("always")) for id in index.modes()]
    plan = [Planned(fault, status="" if n % 3 else "not_applicable") for n, fault in enumerate(faults)]
    shares = [share(plan, Shard(number, of)) for number in range(1, of + 1)]
    assert sorted(entry.id for part in shares for entry in part) == sorted(entry.id for entry in plan)
    assert all(part == [entry for entry in plan if entry in part] for part in shares)


def test_what_takes_long_is_spread_over_the_shares() -> None:
    plan = [Planned(Fault(id, trigger=Trigger("always"))) for id in index.modes()]
    for of in (2, 5):
        shares = [share(plan, Shard(number, of)) for number in range(1, of + 1)]
        for kind in ("hangs", "judged_by"):
            slow = [
                sum(getattr(index.modes()[entry.id.partition("@")[0]], kind) in (True, "reload") for entry in part)
                for part in shares
            ]
            assert max(slow) - min(slow) <= 2, slow


@pytest.mark.parametrize("of", [2, 3])
def test_shares_joined_are_the_report_of_the_whole(tmp_path: Path, of: int) -> None:
    (group,) = merge.shares(_shares(tmp_path, of)).values()
    whole = merge.joined(group)
    folder = run_folder(tmp_path / "whole", report(*sorted(FAULTS, key=lambda f: f.id), demands=DEMANDS))
    expected = Report.read(folder / "report.json")
    assert replace(whole, timing={}) == replace(expected, timing={})
    assert whole.timing == {"import": of * 1.0, "faults": of * 2.5, "total": of * 3.5, "jobs": 2}
    assert whole.ratio == pytest.approx(1 / 3)
    assert texts(whole.reasons) == ["coverage 0.33 is below 0.50"], "which no share could know"


def test_the_run_folder_of_the_whole_stands_the_gates_looks(tmp_path: Path) -> None:
    (group,) = merge.shares(reversed(_shares(tmp_path))).values()
    folder = merge.write(group, merge.joined(group), tmp_path / "out", formats=())
    found = evidence.read(folder / "report.json", whole=True)
    assert evidence.has_run_folder(folder / "report.json")
    assert len(found.faults) == len(FAULTS)
    plan = json.loads((folder / "plan.json").read_text())
    assert [entry["id"] for entry in plan["faults"]] == sorted(fault.id for fault in FAULTS)
    assert "shard" not in plan


def test_what_only_a_run_could_see_is_kept(tmp_path: Path) -> None:
    def blind(found: Report) -> None:
        found.reasons.append(Reason(ReasonKind.CANARY, "a step that always raises was not detected"))
        found.baseline = Baseline(false_alarms=[Alert("guard", "Wolf", 0, "!")])

    (group,) = merge.shares(_shares(tmp_path, change=blind)).values()
    whole = merge.joined(group)
    assert any(reason.kind is ReasonKind.CANARY for reason in whole.reasons)
    assert any("Wolf" in reason.text for reason in whole.reasons)
    assert len(whole.reasons) == 3


def test_a_share_that_is_missing_leaves_the_whole_unproven(tmp_path: Path) -> None:
    folders = _shares(tmp_path, 3)
    with pytest.raises(InconclusiveError, match=r"missing shard 2/3\n.*--shard 2/3"):
        merge.shares([folders[0], folders[2]])


def test_a_share_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one, two = _shares(tmp_path / "a")
    again, _ = _shares(tmp_path / "b")
    with pytest.raises(UsageError, match="duplicate shard 1/2"):
        merge.shares([one, two, again])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: setattr(found, "faultlab", "0.0.9"), "they differ in faultlab"),
        (lambda found: setattr(found, "versions", {"torch": "1"}), "they differ in versions"),
        (lambda found: setattr(found, "demands", Demands()), "they differ in demands"),
        (lambda found: setattr(found, "mutation", Mutation()), "only one has source mutants"),
    ],
)
def test_shares_of_different_campaigns_are_refused(tmp_path: Path, change: Callable[[Report], None], said: str) -> None:
    with pytest.raises(UsageError, match=f"not shards of one run: {said}"):
        merge.shares(_shares(tmp_path, change=change))


def test_shares_of_different_plans_and_seeds_are_refused(tmp_path: Path) -> None:
    one, _ = _shares(tmp_path)
    for number, options in enumerate(({"plan": "another"}, {"seed": 7})):
        other = run_folder(tmp_path / f"x{number}", report(FAULTS[1], shard="2/2", demands=DEMANDS), **options)
        with pytest.raises(UsageError, match=r"they have different (plans|seeds)"):
            merge.shares([one, other])
    other = run_folder(tmp_path / "y", report(FAULTS[1], shard="2/3", demands=DEMANDS))
    with pytest.raises(UsageError, match="one is of 2 shards, the other of 3"):
        merge.shares([one, other])


def test_what_is_no_share_or_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a shard"):
        merge.shares([run_folder(tmp_path / "whole", report(*FAULTS))])
    one, two = _shares(tmp_path)
    (two / "outcomes.jsonl").unlink()
    with pytest.raises(UsageError, match="missing beside it"):
        merge.shares([one, two])


def test_a_share_that_was_edited_is_refused(tmp_path: Path) -> None:
    one, two = _shares(tmp_path)
    file = two / "report.json"
    file.write_text(file.read_text().replace('"silent"', '"no_effect"', 1))
    with pytest.raises(InconclusiveError, match="Run the scenario again"):
        merge.shares([one, two])


def test_a_share_whose_scenario_is_no_folders_name_is_refused(tmp_path: Path) -> None:
    one, _ = _shares(tmp_path)
    data = json.loads((one / "report.json").read_text())
    data["scenario"] = "../../elsewhere"
    data["digest"] = seal.digest_of(data)
    (one / "report.json").write_text(json.dumps(data))
    plan = json.loads((one / "plan.json").read_text())
    (one / "plan.json").write_text(json.dumps({**plan, "report": data["digest"]}))
    with pytest.raises(UsageError, match="invalid scenario name"):
        merge.shares([one])


def test_a_share_that_came_to_no_report_leaves_the_whole_unproven(tmp_path: Path) -> None:
    one, two = _shares(tmp_path)
    (one.parent / "another").mkdir()
    (one.parent / "another" / "plan.json").touch()
    with pytest.raises(InconclusiveError, match="another: inconclusive: the run was not completed"):
        merge.shares([one.parent, two])


def test_shares_without_the_mutants_that_are_asked_for_prove_nothing_of_them(tmp_path: Path) -> None:
    demands = Demands(mutants=0.5)
    folders = [
        run_folder(tmp_path / str(n), report(FAULTS[0] if n == 1 else FAULTS[4], shard=f"{n}/2", demands=demands))
        for n in (1, 2)
    ]
    (group,) = merge.shares(folders).values()
    text = "mutants: inconclusive: the gate demands a score of 0.5, but there is none; run `faultlab mutate`"
    assert texts(merge.joined(group).reasons) == [text]


def test_a_share_is_not_overwritten_by_the_whole(tmp_path: Path) -> None:
    (group,) = merge.shares(_shares(tmp_path)).values()
    with pytest.raises(UsageError, match="is one of the shards"):
        merge.write(group, merge.joined(group), tmp_path / "1", formats=())
    assert evidence.read(tmp_path / "1" / "made-up" / "report.json", whole=True).shard == "1/2"


def test_mutants_are_joined_in_their_order_and_counted_anew() -> None:
    mutants = [mutant(status, line=line) for line, status in enumerate(("detected", "silent", "detected"), start=1)]
    whole = mutated(*mutants)
    parts = []
    for number in (1, 2):
        part = mutated(*Shard(number, 2).share(mutants), shard=f"{number}/2")
        part.shard = f"{number}/2"
        parts.append(merge.Share(Path(), part, {}))
    joined = merge.joined(parts)
    assert joined.mutants == whole.mutants
    assert joined.mutation is not None
    assert whole.mutation is not None
    assert joined.mutation.score == pytest.approx(2 / 3, abs=1e-4)
    assert (joined.mutation.counts, joined.mutation.methods) == (whole.mutation.counts, whole.mutation.methods)
    assert joined.mutation.shard == ""


def _beside(tmp_path: Path, name: str, *contents: Any) -> Any:
    folders = []
    for number, content in enumerate(contents):
        (folder := tmp_path / str(number)).mkdir()
        if content is not None:
            (folder / name).write_text(json.dumps(content))
        folders.append(folder)
    return merge_artifacts.joined(folders).get(name)


def test_what_guards_said_is_united(tmp_path: Path) -> None:
    def said(fault: str, alone: list[str], proven: bool | None) -> dict[str, Any]:
        worth = {"guard": "Moves", "modes": [fault], "alone": alone, "proven": proven}
        return {"quiet_runs": 9, "broken": {}, "detected": {fault: []}, "yours": [worth]}

    found = _beside(tmp_path, "guards.json", said("b", ["b"], False), said("a", ["a", "c"], True))
    assert found["detected"] == {"a": [], "b": []}
    assert found["quiet_runs"] == 9
    assert found["yours"] == [{"guard": "Moves", "modes": ["a", "b"], "alone": ["a", "b", "c"], "proven": True}]


def test_the_kill_matrix_is_counted_anew(tmp_path: Path) -> None:
    def matrix(*faults: tuple[str, list[str]]) -> dict[str, Any]:
        rows = [
            {"id": id, "status": "detected", "cells": [_cell(test, test in killers) for test in ("x", "y")]}
            for id, killers in faults
        ]
        tests = [{"test": test, "seconds": 0.1, "fixtures": {}, "kills": 99} for test in ("x", "y")]
        return {
            "schema": 1, "targets": [], "whole": True, "tests": tests, "left_out": {}, "killed_once": {},
            "faults": rows, "timing": {"total": 1.0, "jobs": 2},
        }  # fmt: skip

    def _cell(test: str, kills: bool) -> dict[str, Any]:
        return {"test": test, "outcome": "failed" if kills else "passed", "activations": 1}

    both, one = ("a.b", ["x", "y"]), ("a.c", ["x"])
    found = _beside(tmp_path, "tests.json", matrix(both), None, matrix(one, both))
    assert {entry["test"]: entry["kills"] for entry in found["tests"]} == {"x": 2, "y": 1}
    assert found["killed_once"] == {"a.c": "x"}
    assert [row["id"] for row in found["faults"]] == ["a.b", "a.c"]
    assert found["timing"] == {"total": 2.0, "jobs": 2}


def test_curves_are_united(tmp_path: Path) -> None:
    parts = [{"schema": 1, "clean": {"run": {}}, "faults": {name: {"loss": []}}} for name in "ba"]
    assert _beside(tmp_path, "curves.json", *parts) == {
        "schema": 1, "clean": {"run": {}}, "faults": {"a": {"loss": []}, "b": {"loss": []}},
    }  # fmt: skip


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "curves.json").write_text("{")
    with pytest.raises(UsageError, match=r"curves\.json: can't be read"):
        merge_artifacts.joined([tmp_path])


def _merge(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Called:
    return call(capsys, monkeypatch, "merge", *arguments)


def test_the_command_writes_everything_and_says_whether_the_whole_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, two = _shares(tmp_path)
    done = _merge(capsys, monkeypatch, one.parent, two, "--out", tmp_path / "out")
    assert done.status == 1
    assert "coverage 0.33 is below 0.50" in done.out
    written = {file.name for file in (tmp_path / "out" / "made-up").iterdir()}
    assert {"report.json", "plan.json", "outcomes.jsonl", "index.html", "junit.xml", "summary.md"} <= written
    told = json.loads(_merge(capsys, monkeypatch, one, two, "--out", tmp_path / "out", "--json").out)
    assert [len(entry["faults"]) for entry in told] == [len(FAULTS)]
    assert _merge(capsys, monkeypatch, one, "--out", tmp_path / "out").status == 4
    assert _merge(capsys, monkeypatch, tmp_path / "nowhere").status == 2

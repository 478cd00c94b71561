"""A campaign of thousands of faults: what the driver keeps of each, and what it does again for each."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign import curves
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.preparation import Findings
from faultlab.campaign.verdict import Twin
from faultlab.config.scenario import Scenario
from faultlab.core import atomic_write
from faultlab.core.alert import Alert
from faultlab.core.detection import Prescribed
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Planned
from faultlab.core.records import Records
from faultlab.core.report import Baseline, FaultResult, Report, Status, dump
from faultlab.core.results import Advisory, Outcome, RunResult
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Capabilities
from tests.support import result

CLEAN = Trajectory(steps=2, losses=[(0, 1.0), (1, 0.5)], metrics={"val_loss": [(1, 0.5)]}, digest="clean")
TWIN = Twin(CLEAN, metric="val_loss")


@pytest.fixture(autouse=True)
def only_what_a_test_makes_is_collected() -> Iterator[None]:
    """Garbage is looked for after each outcome, and what was imported before is none."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Listener:
    """Hears of every verdict, and keeps none."""

    def __getattr__(self, name: str) -> Any:
        return lambda *heard: None


class Replayed:
    """An engine whose runs all end like the clean one but for their weights, and which watches what becomes of them."""

    jobs, ranks, root, capabilities = 1, 1, "unused", Capabilities(snapshots=True)

    def __init__(self) -> None:
        self.alive: list[int] = []
        self.profiles: set[int] = set()

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        outcomes: weakref.WeakSet[Kept] = weakref.WeakSet()
        for order in orders:
            task = order.training
            self.profiles |= {id(task.profile)} if task and task.profile else set()
            trajectory = replace(CLEAN, digest="clean" if order.id in ("snapshot_run", "null") else order.id)
            said = Advisory(alarms=(Alert("guard", "G", 1, "m", reason="check"),))
            done = RunResult(trajectory, activations=1, first_step=0, advice=said)
            outcome = Kept(order.id, [done], output="printed")
            outcomes.add(outcome)
            yield outcome
            del outcome
            gc.collect()
            self.alive.append(len(outcomes))


class Kept(Outcome):
    """An outcome that can be watched."""

    __hash__ = object.__hash__


def campaign(folder: Path, faults: int) -> tuple[Campaign, Replayed, Records]:
    """A campaign of so many faults whose injection is over."""
    engine = Replayed()
    scenario = Scenario.model_validate({"schema": 1, "name": "many", "module": {"class_path": "a.B"}})
    running = Campaign(scenario, engine, Options(), Listener())  # type: ignore[arg-type]
    found = Findings(Baseline(seconds=1.0), TWIN, TargetProfile(), "", {})
    found.advice.asked = {}
    planned = [Planned(Fault.parse(f"loss.scaled:factor={n}@step=0"), at=0) for n in range(2, faults + 2)]
    records = Records(folder)
    records.begin(planned, "same", Options(), resume=False)
    running._inject(planned, {}, found, records, Report("many"))
    return running, engine, records


def test_the_driver_keeps_no_outcome_of_a_judged_fault(tmp_path: Path) -> None:
    running, engine, _ = campaign(tmp_path, 20)
    assert len(running._results) == 20
    assert all(found.status is Status.SILENT for found in running._results.values())
    # The loop's own variable holds the last one until the next comes.
    assert max(engine.alive) <= 1


def test_the_orders_of_a_campaign_share_what_is_known_of_the_target(tmp_path: Path) -> None:
    _, engine, _ = campaign(tmp_path, 20)
    assert len(engine.profiles) == 1


def test_what_stands_beside_a_verdict_is_read_back_from_disk(tmp_path: Path) -> None:
    running, _, records = campaign(tmp_path, 3)
    ids = sorted(running._results)
    assert [id for id, _ in records.curves()] == ids
    assert dict(records.curves())[ids[0]] == {"loss": [[0, 1.0], [1, 0.5]], "metric": [[1, 0.5]]}
    assert records.advised(ids[1])[0]["guard"] == "G"
    assert records.advised("loss.nan@always") == ()


def test_a_verdict_that_is_revised_keeps_what_stands_beside_it(tmp_path: Path) -> None:
    running, _, records = campaign(tmp_path, 2)
    first, second = sorted(running._results)
    revised = result(first, "detected")
    records.revise(revised)
    lines = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [first, second, first]
    assert (lines[2]["curve"], lines[2]["advised"]) == (lines[0]["curve"], lines[0]["advised"])
    assert lines[2]["status"] == "detected"


def test_a_resumed_campaign_takes_over_the_lines_as_they_are(tmp_path: Path) -> None:
    running, _, records = campaign(tmp_path, 3)
    records.write_report(Report("many"))
    before = (tmp_path / "outcomes.jsonl").read_bytes()
    resumed = Records(tmp_path)
    planned = [Planned(Fault.parse(id), at=0) for id in running._results]
    known = resumed.begin(planned, "same", Options(), resume=True)
    assert known == running._results
    assert (tmp_path / "outcomes.jsonl").read_bytes() == before
    assert [id for id, _ in resumed.curves()] == sorted(running._results)


def test_the_curves_are_written_with_a_line_a_fault_and_read_as_one_document(tmp_path: Path) -> None:
    faults = {"loss.nan@step=0": {"loss": [(0, float("nan"))], "metric": []}, 'odd "\ud800': {"loss": [], "metric": []}}
    for kept in ({}, faults):
        with atomic_write.writing(tmp_path / "curves.json") as lines:
            lines.writelines(curves.pieces(TWIN, TWIN, kept.items()))
        text = (tmp_path / "curves.json").read_text(encoding="utf-8")
        clean = {name: curves.curve(CLEAN, "val_loss") for name in ("run", "reload")}
        whole = {"schema": 1, "metric": "val_loss", "clean": clean, "faults": kept}
        assert json.loads(text) == json.loads(dump(whole))
        assert sum(line.startswith('"') for line in text.splitlines()) == len(kept)


def test_what_a_report_says_is_no_part_of_it_that_others_could_change() -> None:
    found: FaultResult = result("loss.nan@step=0", "silent", warnings=["w"], prescription=[Prescribed("G", 1)])
    report = Report("many", faults=[found])
    data = report.to_json()
    data["faults"][0]["warnings"].append("mine")
    data["faults"][0]["prescription"][0]["guard"] = "mine"
    assert (found.warnings, found.prescription) == (["w"], [Prescribed("G", 1)])
    assert report.to_json()["faults"][0]["prescription"] == [{"guard": "G", "step": 1, "cost": None}]

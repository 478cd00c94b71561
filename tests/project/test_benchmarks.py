"""Benchmarks are run by hand, and must not have fallen behind what they measure when somebody does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Train
from faultlab.core.results import Outcome, RunResult
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_benchmark_finds_what_it_imports(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(script.parent))
    spec = importlib.util.spec_from_file_location(f"benchmark_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    assert callable(module.main)


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The benchmarks' modules as they import each other."""
    names = ("bare", "builds", "campaign", "floor", "recorded", "timed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
        for name in names:
            del sys.modules[name]


@pytest.fixture
def timeline(scripts: SimpleNamespace) -> Any:
    """Built in 1 s, to the first step in another; 4 steps of 1 s each, 2 s of validation after each pair, 1 s more."""
    begun, ended = [2.0, 3.0, 6.0, 7.0], [3.0, 4.0, 7.0, 8.0]
    return scripts.floor.Timeline(fit=1.0, begun=begun, ended=ended, validated=[0.0, 0.0, 2.0, 2.0, 4.0], end=11.0)


@pytest.fixture
def run(scripts: SimpleNamespace) -> Any:
    def make(at: Any, steps: int = 4, validations: int = 20, seconds: float = 100.0, **more: Any) -> Any:
        faulted = {"id": f"a.fault@{at}", "fault": "a.fault", **more}
        return scripts.recorded.Run(at=at, steps=steps, validations=validations, seconds=seconds, **faulted)

    return make


@pytest.mark.parametrize(
    ("at", "seconds"), [("construct", 11.0), ("fit", 10.0), (0, 9.0), (2, 5.0), (3, 4.0), (9, 0.0)]
)
def test_a_suffix_is_what_is_left_from_where_a_run_is_forked(timeline: Any, run: Any, at: Any, seconds: float) -> None:
    assert timeline.suffix(at) == seconds
    assert timeline.needed(run(at), 20) == seconds


@pytest.mark.parametrize(
    ("at", "steps", "validations", "seconds"),
    [
        ("construct", 0, 0, 2.0),  # it may have come as far as its first step
        (0, 0, 0, 0.0),
        (0, 1, 0, 1.0),
        ("fit", 3, 10, 6.0),  # one validation and three steps
        (3, 3, 10, 0.0),  # in the step that it was forked at
        (2, 3, 10, 1.0),
    ],
)
def test_a_run_that_ends_early_needs_only_the_steps_that_it_completed(
    timeline: Any, run: Any, at: Any, steps: int, validations: int, seconds: float
) -> None:
    needed = timeline.needed(run(at, steps, validations), 20)
    assert needed == seconds
    assert needed < timeline.suffix(at)


@pytest.mark.parametrize(("steps", "validations", "seconds"), [(4, 0, 6.0), (4, 10, 8.0), (4, 30, 10.0), (3, 0, 4.0)])
def test_validation_that_did_not_take_place_is_not_needed(
    timeline: Any, run: Any, steps: int, validations: int, seconds: float
) -> None:
    assert timeline.needed(run("fit", steps, validations), 20) == seconds


def test_no_run_needs_more_than_it_took(timeline: Any, run: Any) -> None:
    assert timeline.needed(run("fit", seconds=0.5), 20) == 0.5


def test_a_floor_is_a_clean_run_and_the_suffixes_that_take_a_core(
    scripts: SimpleNamespace, timeline: Any, run: Any
) -> None:
    longer = scripts.floor.Timeline(1.0, [2.0, 3.0, 8.0, 9.0], [3.0, 4.0, 9.0, 10.0], [0.0] * 5, 12.0)
    runs = [
        run("construct", id="clean-0", fault=""),
        run("construct", id="clean-reloaded", fault="", reload=True, validations=0),
        run("fit"),
        run(2, id="b.twice@step=2", steps=2),
        run("construct", id="b.twice@step=2", steps=3, validations=20),  # 4 s more than its first run came to
        run(2, id="c.hangs@step=2", sleeps=True),
        run("construct", id="d.checkpoint@always", reload=True),
    ]
    floor = scripts.floor.Floor.of(runs, timeline, longer)
    assert floor.clean == 11.0
    assert floor.suffixes == 10.0 + 7.0 + 12.0
    assert floor.seconds == 11.0 + 29.0


@pytest.fixture(scope="module")
def target() -> Any:
    from faultlab.frameworks.lightning.target import Target

    build = {"class_path": "tests.zoo.models.classifier"}
    # A guard that fails as soon as it is asked.
    guards = [{"class_path": "tests.project.test_benchmarks.Unwanted"}, {"trainer_flag": {"max_steps": 1}}]
    return Target({"build": build, "trainer": {"max_epochs": 2}, "guards": guards})


class Unwanted:
    """No Lightning callback: whatever of a Trainer's hooks is called fails."""


def _in_order(marks: Any) -> Sequence[float]:
    """The marks of one training, in the order in which they were made."""
    steps = [point for pair in zip(marks["begun"], marks["ended"]) for point in pair]
    return [marks["fit"], *steps, marks["end"]]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
@pytest.mark.parametrize("reloading", [None, {"epochs": 2, "monitor": "val_loss", "monitor_mode": "min"}])
def test_a_bare_training_runs_whole_without_guards_and_marks_every_step(
    scripts: SimpleNamespace, target: Any, reloading: Any
) -> None:
    marks = scripts.bare.train(target, reloading)
    assert set(marks) == {"cpu", "wall"}
    for found in marks.values():
        assert len(found["begun"]) == len(found["ended"]) == 12
        assert _in_order(found) == sorted(_in_order(found))
        assert 0 < found["fit"] < found["begun"][0]
        assert len(found["validated"]) == 13
        assert found["validated"][0] == 0.0 < found["validated"][6] < found["validated"][12] < found["end"]


def test_the_median_training_has_the_steps_that_all_have(scripts: SimpleNamespace) -> None:
    def marks(fit: float, *steps: float) -> Any:
        one = {"fit": fit, "end": 9.0, "begun": list(steps), "ended": list(steps), "validated": [0.0]}
        return dict.fromkeys(("cpu", "wall"), one)

    found = scripts.bare.median([marks(1.0, 2.0, 3.0), marks(2.0, 4.0), marks(9.0, 3.0, 5.0)])
    assert found["cpu"] == {"fit": 2.0, "end": 9.0, "begun": [3.0], "ended": [3.0], "validated": [0.0]}


def test_of_a_run_that_died_it_is_noted_how_far_it_was_when_its_fault_was_about_to_act(
    scripts: SimpleNamespace,
) -> None:
    order = Order("process.killed@step=5", Train(0, Fault.parse("process.killed@step=5")), at=5)
    noted = scripts.recorded.Run.of(order, Outcome(order.id, acting=5, exit=-9, seconds=0.2))
    assert (noted.fault, noted.at, noted.steps, noted.seconds) == (order.id, 5, 5, 0.2)


def test_an_engine_that_notes_hands_on_what_runs_came_to(scripts: SimpleNamespace, tmp_path: Path) -> None:
    known = TargetProfile(epochs=2, monitor="val_loss")
    order = Order("a.fault@always", Train(0, Fault.parse("a.fault@always"), reload=True, profile=known))
    canary = Order("canary", Train(0, Fault.parse("step.raises@always")), at="fit")
    result = RunResult(Trajectory(steps=7, validation_batches=3), seconds=0.5)
    outcomes = [Outcome(order.id, [result]), Outcome(canary.id)]
    engine = SimpleNamespace(run=lambda orders: iter(outcomes), close=lambda: None, jobs=2)
    recorded = scripts.recorded.Recorded(engine, str(tmp_path / "notes.json"))
    assert recorded.jobs == 2
    assert list(recorded.run([order, canary])) == outcomes
    recorded.close()
    notes = json.loads((tmp_path / "notes.json").read_text())
    assert [(run["id"], run["fault"], run["steps"]) for run in notes["runs"]] == [
        (order.id, order.id, 7),
        ("canary", "", 0),
    ]
    assert notes["reloading"] == {"epochs": 2, "monitor": "val_loss", "monitor_mode": "min"}


_BUSY = "import time\nwhile time.process_time() < 0.4: pass"


def test_the_seconds_of_a_command_hold_those_of_its_descendants(scripts: SimpleNamespace) -> None:
    starting = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BUSY!r}])"
    spent = scripts.timed.spend([sys.executable, "-c", f"{starting}; print('done')"])
    assert spent.status == 0
    assert spent.printed == "done\n"
    assert spent.cpu >= 0.4


def test_another_build_stands_in_a_worktree_with_the_scenarios_of_here(
    scripts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    for file in (tree / "faultlab" / "__init__.py", tree / "scenarios" / "own.yaml"):
        file.parent.mkdir(parents=True)
        file.write_text("OLD = 1\n")
    git = ["git", "-C", str(tree), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "old"]):
        subprocess.run([*git, *words], check=True)
    (tree / "faultlab" / "__init__.py").write_text("NEW = 1\n")
    (tree / "scenarios" / "own.yaml").write_text("NEW = 1\n")
    monkeypatch.setattr(scripts.builds, "ROOT", tree)
    for own, scenario in ((False, "NEW = 1\n"), (True, "OLD = 1\n")):
        with scripts.builds.built("HEAD", own) as build:
            assert (build.tree / "faultlab" / "__init__.py").read_text() == "OLD = 1\n"
            assert (build.tree / "scenarios" / "own.yaml").read_text() == scenario
            environment = scripts.floor.environment(build.tree)
            assert environment["PYTHONPATH"] == os.fspath(build.tree)
            assert environment["FAULTLAB_WARM"] == "0"
        assert not build.tree.exists()
    listed = subprocess.run([*git, "worktree", "list"], check=True, capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == 1


@pytest.fixture
def measured(scripts: SimpleNamespace) -> Any:
    def make(name: str, this: Sequence[float], other: Sequence[float], statuses: Sequence[Any]) -> Any:
        def costs(seconds: Sequence[float]) -> list[Any]:
            return [scripts.builds.Cost(cpu, cpu / 2, 0.5, 1.0, 0, status) for cpu, status in zip(seconds, statuses)]

        floors = [scripts.floor.Bare(dict.fromkeys(("cpu", "wall"), scripts.floor.Floor(1.0, 9.0)), 4.0)] * len(this)
        recording = SimpleNamespace(faults=["a", "b"], faulted={"cpu": 0.0, "wall": 0.0})
        return scripts.campaign.Measured(name, 2, recording, floors, costs(this), costs(other))

    return make


def test_ratios_are_taken_pair_by_pair_and_summed_over_scenarios_round_by_round(
    scripts: SimpleNamespace, measured: Any, tmp_path: Path
) -> None:
    ran = [{"a": "silent"}] * 3
    found = [
        measured("one", [20.0, 30.0, 10.0], [40.0, 40.0, 40.0], ran),
        measured("two", [20.0, 20.0, 20.0], [20.0, 80.0, 20.0], ran),
    ]
    heading, one, _, both = scripts.campaign.table(found, "cpu", scripts.builds.Build("old", tmp_path))
    assert heading[-1] == "this build / old"
    assert one == [
        "one",
        "10.00 (10.00-10.00)",
        "20.00 (10.00-30.00)",
        "2.00 (1.00-3.00)",
        "1.60 (0.60-2.60)",
        "40.00 (40.00-40.00)",
        "4.00 (4.00-4.00)",
        "0.50 (0.25-0.75)",
    ]
    assert both[0] == "all of them"
    assert both[2] == "40.00 (30.00-50.00)"
    assert both[-1] == "0.50 (0.42-0.67)"
    wall = scripts.campaign.table(found[:1], "wall", None)
    assert wall[1] == ["one", "5.00 (5.00-5.00)", "10.00 (5.00-15.00)", "2.00 (1.00-3.00)", "1.80 (0.80-2.80)"]


def test_a_floor_is_not_set_beside_a_build_that_runs_other_scenarios(
    scripts: SimpleNamespace, measured: Any, tmp_path: Path
) -> None:
    found = [measured("one", [20.0], [40.0], [{}])]
    _, row = scripts.campaign.table(found, "cpu", scripts.builds.Build("old", tmp_path, own_scenarios=True))
    assert row[-3:] == ["40.00", "", "0.50"]


def test_faults_are_listed_whose_status_is_not_the_same_each_time(measured: Any) -> None:
    found = measured("one", [1.0, 1.0], [1.0, 1.0], [{"a": "silent", "b": "warned"}, {"a": "silent", "b": "detected"}])
    assert found.differences() == ["one: b: detected or warned, there detected or warned"]
    found.other.clear()
    assert found.differences() == ["one: b: detected or warned"]


def test_what_was_measured_is_printed_and_can_be_read_back(
    scripts: SimpleNamespace, measured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured("one", [20.0, 20.0], [40.0, 40.0], [{"a": "silent", "b": "warned"}] * 2)
    found.other[1] = replace(found.other[1], statuses={"a": "silent", "b": "detected"})
    found.unadvised = found.other
    found.peaks = [1 << 30, 1 << 29]
    spent = SimpleNamespace(cpu=100.0, wall=60.0)
    found.fresh = SimpleNamespace(faults=["a"], faulted={"cpu": 80.0, "wall": 50.0}, spent=spent)
    found.recording.report = {"versions": {"torch": "2"}}
    demos = [[scripts.timed.Spent(3.0, 2.0, 0.1, 0, "", "")], [scripts.timed.Spent(9.0, 4.0, 0.1, 0, "", "")]]
    scripts.campaign.report([found], scripts.builds.Build("old", tmp_path), demos, sample=2)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "one with / without ready-made guards, cpu 0.50 (0.50-0.50)",
        "one a process for every fault (SCALED) / this build, cpu 9.0",  # 20 + 2 * 80 over 20
        "one peak of memory, GiB 1.00, 0.50",
        "demo cpu seconds 2.00 4.00",
        "demo this build / the other, cpu 0.50",
        "faults whose status varies: 1",
        "one: b: warned, there detected or warned",
    ):
        assert line in lines
    data = json.loads(json.dumps(scripts.campaign.to_json([found], "old", demos)))
    assert data["scenarios"][0]["floor"] == {"cpu": [10.0, 10.0], "wall": [5.0, 5.0]}
    assert data["scenarios"][0]["fresh"] == {"cpu": 180.0, "wall": 110.0}
    assert data["demos"][1] == {"cpu": [4.0], "wall": [9.0]}

"""Training loops written by hand: `framework: torch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab import api
from faultlab.config import target_check
from faultlab.config.scenario import load
from faultlab.core.patching import Patches
from faultlab.core.report import Report, Status
from faultlab.core.trajectory import Trajectory
from faultlab.errors import ScenarioError, TargetError
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.target import LoopTarget
from faultlab.frameworks.loops.training import numbers_in
from faultlab.guards.support import backward_calls
from faultlab.report.remedy import remedy
from tests.frameworks import hand_written
from tests.frameworks.contract import FrameworkTester
from tests.lab import Lab, engine

# One failure mode of each hook that loops have, and some that they share with every framework.
SELECTED = (
    "batch.none input.zero label.shuffled label.noisy loader.sorted loader.short loader.unshuffled "
    "dataset.random-labels "
    "forward.constant forward.nan layer.unregistered init.zero weights.nan mode.eval-in-training "
    "mode.training-in-validation mode.left-eval-after-validation loss.* gradient.* "
    "optimizer.drops-update optimizer.foreign-parameters optimizer.state-reset "
    "setting.learning-rate-zero scheduler.unstepped return.none step.raises process.killed process.out-of-memory "
    "random.reseeded-each-step"
)


class TestLoop(FrameworkTester):
    scenario = f"""
schema: 1
name: trial
framework: torch
train: {{class_path: tests.frameworks.hand_written.main}}
evaluate: {{class_path: tests.frameworks.hand_written.evaluate}}
step: tests.frameworks.hand_written.train_step
monitor: {{metric: val_loss, mode: min}}
faults: {{select: {SELECTED.split()}}}
"""
    tried = 45

    def test_a_loss_that_is_not_finite_is_detected_by_its_guard(self, report: Report) -> None:
        """The guard of a loop is the loop's own assertion."""
        nan = next(fault for fault in report.faults if fault.mode == "loss.nan")
        assert nan.status is Status.DETECTED
        (found,) = nan.detected_by
        assert (found.kind, found.latency) == ("module", 0)
        assert "the loss is not finite" in found.message

    def test_everything_that_was_tried_acts(self, report: Report) -> None:
        assert [fault.id for fault in report.faults if fault.status is Status.NOT_ACTIVATED] == []

    def test_validation_is_broken_without_harm_to_the_weights(self, report: Report) -> None:
        found = next(fault for fault in report.faults if fault.mode == "mode.training-in-validation")
        assert found.activations > 0


def run(tmp_path: Path, train: str, *select: str, file: str = "hand_written", **more: Any) -> Report:
    tmp_path.mkdir(exist_ok=True)
    scenario = tmp_path / "loop.yaml"
    scenario.write_text(
        f"schema: 1\nname: loop\nframework: torch\ntrain: {{class_path: tests.frameworks.{file}.{train}}}\n"
    )
    return api.run(load(scenario), select=list(select), out=tmp_path / "out", **{"advice": False, **more})


MORE = pytest.mark.nightly(reason="one more form, which other tests of the quick ring break elsewhere")
FORMS = [
    "accumulating",
    *(
        pytest.param(form, marks=MORE)
        for form in ("with_closure", "without_loader", "one_function_for_both", "streaming")
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_loops_of_every_form_are_broken_in_the_step_that_was_asked_for(form: str, tmp_path: Path) -> None:
    report = run(tmp_path, form, "gradient.nan@step=2", "weights.nan@step=3", "forward.nan@step=1")
    found = {fault.id: (fault.status, fault.first_step) for fault in report.faults}
    assert report.reasons == []
    assert report.baseline.deterministic
    assert {id: step for id, (_, step) in found.items()} == {
        "gradient.nan@step=2": 2,
        "weights.nan@step=3": 3,
        "forward.nan@step=1": 1,
    }
    assert all(status is Status.SILENT for status, _ in found.values()), found


def test_guards_that_watch_a_loop_are_prescribed_for_its_silent_faults(tmp_path: Path) -> None:
    faults = {
        "layer.unregistered": "OptimizerCoverage",
        "mode.eval-in-training": "Modes",
        "optimizer.drops-update": "ParametersMove",
        "optimizer.no-zero-grad": "GradientsCleared",
    }
    report = run(tmp_path, "main", *faults, advice=True)
    offered = {fault.mode: {one.name for one in fault.prescription} for fault in report.faults}
    assert {mode for mode, guard in faults.items() if guard not in offered[mode]} == set()
    advice = json.loads((tmp_path / "out" / "loop" / "selected" / "guards.json").read_text())
    assert (advice["false_alarms"], advice["broken"], advice["disturbed"]) == ([], {}, "")
    made = remedy(report, {})
    assert made is not None
    assert "with watch(model, optimizer, loader=loader, validation=validation, guards=[" in made.code
    compile(made.code, "snippet", "exec")


def test_a_loop_that_guards_watch_in_its_own_code_is_protected(tmp_path: Path) -> None:
    report = run(tmp_path, "watched", "loss.nan@step=3", "optimizer.no-zero-grad@always")
    assert report.reasons == []
    found = {fault.mode: fault.detected_by[0] for fault in report.faults if fault.detected_by}
    assert found["loss.nan"].latency == 0
    assert "LossContract: the loss is nan" in found["loss.nan"].message
    assert "GradientsCleared" in found["optimizer.no-zero-grad"].message


def test_where_a_thread_forbids_forks_the_report_names_it_and_the_verdicts_are_the_same(tmp_path: Path) -> None:
    faults = ("loss.nan@step=3", "optimizer.drops-update@step=2", "mode.eval-in-training@always")
    plain = run(tmp_path / "plain", "main", *faults)
    threaded = run(tmp_path / "threaded", "beside_a_thread", *faults, file="hand_loading")
    assert [found["kind"] for found in plain.baseline.findings] == ["reported"]
    (found,) = (one for one in threaded.baseline.findings if one not in plain.baseline.findings)
    assert found["kind"] == "unforked"
    assert "threads run beside it: prefetcher; these faults run from the beginning" in found["what"]
    told = [[(fault.id, fault.status, fault.first_step) for fault in one.faults] for one in (plain, threaded)]
    assert told[0] == told[1]


def test_harm_is_measured_by_what_the_function_returns(tmp_path: Path) -> None:
    report = run(tmp_path, "one_function_for_both", "optimizer.drops-update@always")
    (fault,) = report.faults
    assert fault.harm is not None
    assert fault.harm.metric == "val_loss"
    assert fault.harm.harmful


def test_without_a_loader_no_batch_is_broken_and_all_else_is(tmp_path: Path) -> None:
    report = run(tmp_path, "without_loader", "batch.*", "loader.*", "layer.*", "loss.nan", "label.shuffled")
    found = {fault.mode: fault for fault in report.faults}
    assert report.reasons == []
    assert found["batch.none"].reason == "the training data does not come from a DataLoader"
    assert found["loader.short"].reason == "the training data does not come from a DataLoader"
    assert found["layer.dropout-total"].status is Status.SILENT


def test_harm_is_unknown_if_nothing_but_a_loss_with_the_fault_in_it_is_reported(tmp_path: Path) -> None:
    report = run(tmp_path, "streaming", "loss.offset")
    (finding,) = report.baseline.findings
    assert "the training reports no metric" in finding["what"]
    assert "evaluate" in finding["remedy"]


def followed(train: Any, layout: Any) -> tuple[Loop, Trajectory, list[int]]:
    clock, trajectory, steps = LoopClock(), Trajectory(), []
    loop = Loop(layout, trajectory, clock.tick, clock.take_back)
    clock.follow(loop)
    clock.on_step.append(steps.append)
    with Patches() as patches:
        clock.attach(patches)
        train()
    return loop, trajectory, steps


def layout_of(name: str) -> Any:
    return LoopTarget({"train": {"class_path": f"tests.frameworks.hand_written.{name}"}}).layout


def test_a_step_is_a_batch_of_the_training_loader() -> None:
    loop, trajectory, steps = followed(hand_written.main, layout_of("main"))
    assert steps == list(range(20))
    assert (trajectory.steps, trajectory.epochs, trajectory.global_step) == (20, 2, 20)
    assert len(trajectory.losses) == 20
    assert trajectory.validation_batches == 4
    assert type(loop.module) is hand_written.Net
    assert [rate for _, rate in trajectory.learning_rates] == [0.02, 0.01]


def test_without_guards_nothing_watches_the_loop() -> None:
    observers = list(backward_calls.CALLS.observers)
    followed(hand_written.main, layout_of("main"))
    assert backward_calls.CALLS.observers == observers


def test_accumulated_batches_are_steps_too() -> None:
    _, trajectory, steps = followed(hand_written.accumulating, layout_of("accumulating"))
    assert (len(steps), trajectory.global_step) == (20, 10)


def test_without_a_loader_a_step_begins_with_the_forward() -> None:
    _, trajectory, steps = followed(hand_written.without_loader, layout_of("without_loader"))
    assert steps == list(range(20))
    assert trajectory.epochs == 0


def test_a_closure_that_is_called_several_times_is_one_step() -> None:
    _, _, steps = followed(hand_written.with_closure, layout_of("with_closure"))
    assert steps == list(range(6))


def test_a_stream_whose_end_nothing_tells_has_no_step_too_many() -> None:
    _, trajectory, steps = followed(hand_written.streaming, layout_of("streaming"))
    assert steps == list(range(12))
    assert trajectory.steps == 12


def test_the_module_that_trains_is_told_from_another_of_its_class() -> None:
    layout = layout_of("one_function_for_both")
    assert layout.roots == (("tests.frameworks.hand_written.Net", 2),)
    assert len(layout.training) == 1


def test_a_loop_leaves_nothing_behind() -> None:
    before = {
        owner: dict(vars(owner))
        for owner in (torch.nn.Module, torch.optim.Optimizer, torch.optim.Adam, torch.utils.data.DataLoader)
    }
    hand_written.main()
    followed(hand_written.main, layout_of("main"))
    for owner, attributes in before.items():
        assert {name: vars(owner)[name] for name in attributes if name != "step"} == {
            name: value for name, value in attributes.items() if name != "step"
        }


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("never_trains", "no optimizer of torch's was stepped"),
        ("raises", "FileNotFoundError: no such file: 'points.csv'"),
        ("exits", "SystemExit: 2"),
        ("needs_arguments", "missing a required argument: 'rate'"),
        ("nothing_of_that_name", "has no 'nothing_of_that_name'"),
    ],
)
def test_what_trains_nothing_is_an_error_that_says_why(train: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        layout_of(train)
    assert message in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("framework: torch\n", "missing key 'train'"),
        ("framework: torch\ntrain: {class_path: a.b}\nmodule: {class_path: a.C}\n", "`module` is not for"),
        ("module: {class_path: a.C}\ntrain: {class_path: a.b}\n", "`train` is for `framework: torch`"),
    ],
)
def test_keys_of_the_other_framework_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(f"schema: 1\nname: mixed\n{text}")
    with pytest.raises(ScenarioError, match=message):
        load(file)


@pytest.mark.parametrize(
    ("returned", "numbers"),
    [
        (0.5, {"metric": 0.5}),
        (torch.tensor(2.0), {"metric": 2.0}),
        ({"loss": torch.tensor(1.0), "name": "digits"}, {"loss": 1.0}),
        ((torch.nn.Identity(), {"loss": 3}), {"loss": 3.0}),
        ((torch.nn.Identity(), 0.25), {"metric": 0.25}),
        (torch.nn.Identity(), {}),
        (None, {}),
    ],
)
def test_numbers_are_found_in_whatever_a_function_returns(returned: Any, numbers: dict[str, float]) -> None:
    assert numbers_in(returned) == numbers


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train", "{class_path: tests.frameworks.hand_written.mian}", "has no 'mian'"),
        ("train", "{class_path: tests.frameworks.hand_written.main, init_args: {rat: 1}}", "unexpected keyword"),
        ("evaluate", "{class_path: tests.frameworks.hand_writen.evaluate}", "can't import"),
        ("step", "tests.frameworks.hand_written.train_stp", "has no 'train_stp'"),
    ],
)
def test_check_finds_what_a_run_would_refuse(key: str, value: str, message: str, tmp_path: Path) -> None:
    keys = {"train": "{class_path: tests.frameworks.hand_written.main}", key: value}
    file = tmp_path / "loop.yaml"
    file.write_text("\n".join(["schema: 1", "name: loop", "framework: torch", *(f"{k}: {v}" for k, v in keys.items())]))
    (problem,) = target_check.check(load(file))
    assert message in problem.message


def test_a_whole_loop_passes_the_check(tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(TestLoop.scenario)
    assert target_check.check(load(file)) == []


def test_a_fault_that_is_armed_before_the_loop_makes_its_module_finds_it() -> None:
    with engine() as working:
        lab = Lab.of_loop(working, train={"class_path": "tests.frameworks.hand_written.accumulating"})
        (outcome,) = lab.run(["gradient.layer-zero"], at="fit").values()
        result = lab.judge(outcome)
    assert (result.status, result.reason) == (Status.SILENT, "")
    assert result.activations > 0

"""The numbers that training loops written by hand report: what they return, print, write and log."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core import references
from faultlab.core.patching import Patches
from faultlab.core.report import Report, Status
from faultlab.core.trajectory import Trajectory
from faultlab.errors import ScenarioError
from faultlab.frameworks.loops import sinks
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.framework import FRAMEWORK
from faultlab.frameworks.loops.lines import Lines
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.target import LoopTarget
from faultlab.injection.values import Logged
from tests.frameworks import hand_written, trackers


def campaign(tmp_path: Path, select: str, **keys: str) -> Report:
    lines = ["schema: 1", "name: loop", "framework: torch", *(f"{key}: {text}" for key, text in keys.items())]
    (tmp_path / "loop.yaml").write_text("\n".join(lines))
    return api.run(load(tmp_path / "loop.yaml"), select=select.split(), out=tmp_path / "out", advice=False)


def test_modules_are_searched_for_the_evaluation_before_runs_are_copied() -> None:
    entries = {part: {"class_path": f"tests.frameworks.hand_written.{part}"} for part in ("main", "evaluate")}
    FRAMEWORK.target({"train": entries["main"], "evaluate": entries["evaluate"]})
    assert any(hand_written.evaluate in names.values for names in references._FOUND.values())


def test_what_a_loop_logs_is_its_metric_and_can_be_broken(tmp_path: Path) -> None:
    report = campaign(
        tmp_path,
        "metric.* logger.*",
        train="{class_path: tests.frameworks.trackers.main}",
        evaluate="{class_path: tests.frameworks.hand_written.evaluate}",
        monitor="{metric: accuracy, mode: max}",
    )
    assert report.reasons == []
    found = {fault.mode: fault for fault in report.faults}
    applied = {mode: fault.status.value for mode, fault in found.items() if fault.status is not Status.NOT_APPLICABLE}
    assert applied == {
        "logger.raises": "detected",
        "logger.silent": "silent",
        "metric.constant": "silent",
        "metric.loss-not-logged": "silent",
        "metric.missing": "silent",
        "metric.nan": "silent",
        "metric.not-reset": "silent",
        "metric.renamed": "silent",
        "metric.samples-counted-twice": "silent",
        "metric.train-as-validation": "silent",
    }
    assert found["metric.mean-of-means"].reason == "the training averages its batches itself"
    assert found["metric.not-reset"].activations == 2


def test_a_printed_metric_measures_harm_if_nothing_is_returned(tmp_path: Path) -> None:
    report = campaign(
        tmp_path,
        "optimizer.drops-update",
        train="{class_path: tests.frameworks.trackers.printing}",
        metrics=r"{stdout: 'val loss (?P<val_loss>\S+)'}",
        monitor="{metric: val_loss, mode: min}",
    )
    (fault,) = report.faults
    assert fault.harm is not None
    assert (fault.harm.metric, fault.harm.harmful) == ("val_loss", True)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("{}", "`metrics` must have `stdout` or `jsonl`"),
        ("{stdout: 'loss (\\S+)'}", "`stdout` names no metric"),
        ("{stdout: 'loss (?P<loss'}", "invalid regular expression in `stdout`"),
        ("{csv: history.csv}", "csv"),
    ],
)
def test_metrics_that_can_not_be_found_are_refused(metrics: str, message: str, tmp_path: Path) -> None:
    text = f"schema: 1\nname: loop\nframework: torch\ntrain: {{class_path: a.b}}\nmetrics: {metrics}\n"
    (tmp_path / "loop.yaml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "loop.yaml")
    assert message in str(caught.value)


def test_a_metric_that_is_never_reported_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        campaign(
            tmp_path,
            "loss.nan",
            train="{class_path: tests.frameworks.trackers.printing}",
            metrics=r"{stdout: 'val loss (?P<val_loss>\S+)'}",
            monitor="{metric: accuracy, mode: max}",
        )
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (6, "the clean run never logs 'accuracy'")
    assert "val_loss" in problem.remedy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own for what a loop writes."""
    monkeypatch.chdir(tmp_path)


def followed(train: Any, change: Any = None, **given: Any) -> Loop:
    target = LoopTarget({"train": {"class_path": f"{train.__module__}.{train.__name__}"}})
    clock = LoopClock()
    loop = Loop(target.layout, Trajectory(), clock.tick, clock.take_back, **given)
    clock.follow(loop)
    if change is not None:
        loop.reports.maps.append(lambda report, stage: change(report) if stage == "validate" else report)
    with Patches() as patches:
        clock.attach(patches)
        train()
    return loop


def nan(report: Logged) -> Logged:
    return Logged(report.name, torch.tensor(float("nan")))


@pytest.mark.usefixtures("folder")
def test_what_an_evaluation_returns_within_a_loop_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    loop = followed(trackers.printing, nan, evaluation=hand_written.evaluate)
    series = loop.trajectory.metrics
    assert [step for step, _ in series["val_loss"]] == [9, 19, 29]
    assert all(value != value for _, value in series["val_loss"])
    assert capsys.readouterr().out.count("val loss nan") == 3
    assert hand_written.evaluate(hand_written.Net())["val_loss"] > 0


@pytest.mark.usefixtures("folder")
def test_lines_of_a_file_are_reports() -> None:
    loop = followed(trackers.printing, lambda report: None, declared={"jsonl": "history.jsonl"})
    assert loop.trajectory.metrics == {}
    assert [json.loads(line) for line in Path("history.jsonl").read_text().splitlines()] == [
        {"epoch": number} for number in range(3)
    ]
    assert set(loop.reports.by_stage["validate"]) == {"val_loss", "accuracy"}


@pytest.mark.usefixtures("folder")
def test_a_printed_number_is_exchanged_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    pattern = r"loss (?P<train_loss>[^,]+), val loss (?P<val_loss>\S+)"
    before = sys.stdout
    loop = followed(trackers.printing, lambda report: Logged(report.name, 7.25), declared={"stdout": pattern})
    assert sys.stdout is before
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["7.25"] * 3
    assert [value for _, value in loop.trajectory.metrics["val_loss"]] == [7.25] * 3
    assert all(0 < value < 3 for _, value in loop.trajectory.metrics["train_loss"])
    assert loop.reports.before_validation


def test_calls_of_a_tracker_are_counted_and_a_report_in_them_can_be_dropped() -> None:
    trackers.LOGGED.clear()
    loop = followed(trackers.main, lambda report: None)
    assert loop.reports.loggers == {"trackio": None}
    assert loop.reports.last_logged == 29
    assert set(loop.trajectory.metrics) == {"train/loss"}
    assert len(trackers.LOGGED) == 30
    assert all(set(record) == {"train/loss"} for record in trackers.LOGGED)


def test_methods_and_functions_of_trackers_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class SummaryWriter:
        def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
            written.append((tag, scalar_value, global_step))

    writer: Any = ModuleType("torch.utils.tensorboard.writer")
    writer.SummaryWriter = SummaryWriter
    mlflow: Any = ModuleType("mlflow")
    mlflow.log_metric = lambda key, value, step=None: written.append((key, value, step))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", writer)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)

    def make(sink: sinks.Sink, log: Any) -> Any:
        def logging(*args: Any, **kwargs: Any) -> None:
            for own, others in sink.mapped(args, kwargs, lambda name, value: (f"{sink.title}:{name}", 2 * value)):
                log(*own, **others)

        return logging

    with Patches() as patches:
        sinks.replace(patches, make)
        SummaryWriter().add_scalar("loss", 1.0, 5)
        SummaryWriter().add_scalar(tag="loss", scalar_value=2.0, global_step=6)
        mlflow.log_metric("accuracy", value=0.25, step=7)
    SummaryWriter().add_scalar("loss", 1.0)
    assert written == [
        ("SummaryWriter:loss", 2.0, 5),
        ("SummaryWriter:loss", 4.0, 6),
        ("mlflow:accuracy", 0.5, 7),
        ("loss", 1.0, None),
    ]


def test_text_passes_in_whole_lines_however_it_is_written() -> None:
    stream = io.StringIO()
    with Lines(stream, str.upper) as lines:
        lines.writelines(["a", "b\nc", "\n"])
        assert stream.getvalue() == "AB\nC\n"
        lines.write("rest")
        lines.flush()
        assert stream.getvalue() == "AB\nC\nREST"
        assert lines.writable()
    assert stream.closed

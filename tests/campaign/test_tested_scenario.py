"""Scenarios that name tests: one report of guards and tests together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import faultlab
from faultlab.core.report import Report, Status
from faultlab.errors import ScenarioError
from faultlab.report.html import document

pytestmark = pytest.mark.nightly(
    reason="a campaign with tests of its own; the quick ring has one of which test_gate_catches.py asks the gate"
)

MODULE = """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data():
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
    return loader, loader


class Finite(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if not torch.isfinite(outputs["loss"]):
            raise ValueError("the loss is not finite")
"""

TESTS = """
import pytorch_lightning as pl
import pytest
import torch
from lines import Line, data


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = Line()
    trainer = pl.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, *data())
    return model


def test_it_learns(trained):
    x, y = next(iter(data()[1]))
    assert torch.nn.functional.mse_loss(trained.layer(x), y) < 1


def test_nothing_much():
    assert Line().layer.weight.shape == (1, 3)


def test_that_is_red():
    assert 0
"""

SCENARIO = """
schema: 1
name: lines
module: {class_path: lines.Line}
data: {class_path: lines.data}
trainer: {max_epochs: 2}
guards: [{class_path: lines.Finite}]
tests: [test_lines.py]
gate: {false_alarms: 1}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in {"lines.py": MODULE, "test_lines.py": TESTS, "lines.yaml": SCENARIO, "setup.py": ""}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def report(project: Path) -> Report:
    select = ["loss.nan", "gradient.negated", "loss.offset", "layer.batchnorm-frozen", "checkpoint.resume-ignored"]
    return faultlab.run(project / "lines.yaml", select=select, out=project / "reports")


def test_one_report_joins_guards_and_tests(report: Report) -> None:
    found = {fault.mode: fault for fault in report.faults}
    learns = "test_lines.py::test_it_learns"
    assert {(one.kind, one.name) for one in found["loss.nan"].detected_by} == {("guard", "Finite"), ("test", learns)}
    assert [(one.kind, one.name) for one in found["gradient.negated"].detected_by] == [("test", learns)]
    assert found["loss.offset"].status is Status.SILENT
    assert found["layer.batchnorm-frozen"].status is Status.NOT_APPLICABLE
    # What no test comes by is still judged by its training.
    assert found["checkpoint.resume-ignored"].status is Status.SILENT
    assert report.to_json()["coverage"]["by_detector"][f"test:{learns}"] == 2


def test_a_red_test_is_a_false_alarm_and_takes_no_part(report: Report) -> None:
    (alarm,) = report.baseline.false_alarms
    assert (alarm.kind, alarm.name) == ("test", "test_lines.py::test_that_is_red")
    assert not any("red" in one.name for fault in report.faults for one in fault.detected_by)
    assert report.passed


def test_the_kill_matrix_of_the_tests_lies_by_the_report(report: Report, project: Path) -> None:
    found = json.loads((project / "reports" / "lines" / "selected" / "tests.json").read_text())
    kills = {entry["test"]: entry["kills"] for entry in found["tests"]}
    assert kills == {"test_lines.py::test_it_learns": 2, "test_lines.py::test_nothing_much": 0}
    page = document.write(report, project / "reports").read_text()
    assert "Your tests" in page
    assert "test_nothing_much" in page


def test_what_a_guard_has_detected_is_settled_and_nothing_else(report: Report, project: Path) -> None:
    found = json.loads((project / "reports" / "lines" / "selected" / "tests.json").read_text())
    settled = {entry["id"].partition("@")[0] for entry in found["faults"] if entry["settled"]}
    assert settled == {"loss.nan"}


def test_verdicts_on_disk_are_the_joint_ones(report: Report, project: Path) -> None:
    lines = (project / "reports" / "lines" / "selected" / "outcomes.jsonl").read_text().splitlines()
    last = {entry["mode"]: entry["status"] for entry in map(json.loads, lines)}
    assert last == {fault.mode: fault.status.value for fault in report.faults}


def test_tests_that_are_not_there_are_a_mistake_in_the_scenario(project: Path) -> None:
    file = project / "wrong.yaml"
    file.write_text(SCENARIO.replace("test_lines.py", "test_line.py"))
    with pytest.raises(ScenarioError, match=r"wrong.yaml:8:9: no such test file or folder: 'test_line.py'"):
        faultlab.run(file, out=project / "nowhere")
    assert not (project / "nowhere").exists()

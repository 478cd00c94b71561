"""The copies that `pytest --faultlab` makes give the verdicts that pytest gives which runs nothing but the fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import warm

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the tests are run in copies of the process")

EXPECTED = {
    "loss.nan@always": "detected",
    "gradient.negated@always": "detected",
    "label.constant@always": "detected",
    "scheduler.key-typo@always": "warned",
    "gradient.doubled@always": "silent",
    "setting.sanity-disabled@always": "no_effect",
    # In the training of a single batch it can not happen, though pytest of its own runs that test too.
    "loader.short@always": "detected",
    "process.killed": "detected",
}
FIRST = next(iter(EXPECTED))
MORE = pytest.mark.nightly(reason="a pytest for each fault; the quick ring has one, and every fault in the copies")

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
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.99)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


def loader():
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)


def train(model, **settings):
    trainer = pl.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, **settings)
    trainer.fit(model, loader(), loader())
    return trainer
"""

TESTS = """
import pytest
import torch
from line import Line, loader, train


@pytest.fixture(scope="module")
def trained():
    model = Line()
    return model, train(model)


def test_a_step_by_hand_has_a_finite_loss():
    assert torch.isfinite(Line().training_step(next(iter(loader())), 0))


def test_a_line_has_four_parameters():
    assert sum(parameter.numel() for parameter in Line().parameters()) == 4


def test_the_trained_line_is_finite(trained):
    model, _ = trained
    assert torch.isfinite(model.layer.weight).all()


def test_the_trained_line_is_close(trained):
    _, trainer = trained
    assert trainer.callback_metrics["val_loss"] < 1.5


def test_training_moves_the_weights():
    model = Line()
    before = model.layer.weight.detach().clone()
    train(model, overfit_batches=1)
    assert not torch.equal(model.layer.weight, before)
"""


@dataclass(frozen=True)
class Verdict:
    """What a run said of one fault; ``status`` is empty where pytest did not live to say it."""

    status: str
    outcomes: Mapping[str, tuple[str, str, int]]
    exit: int = 0


@dataclass(frozen=True)
class Suite:
    """The line's tests in a folder of their own."""

    folder: Path

    def run(self, name: str, *options: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
        """Pytest in a fresh process, and what it wrote of each fault."""
        out = self.folder / "out" / name
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)])}
        process = warm.run([*command, "--faultlab-out", out, self.folder], cwd=self.folder, env=environment)
        written = out / "tests.json"
        return process, json.loads(written.read_text())["faults"] if written.is_file() else []

    def together(self) -> dict[str, Verdict]:
        """By ``pytest --faultlab``, every test that a fault reaches."""
        selected = [word for fault in EXPECTED for word in ("--faultlab-select", fault)]
        process, faults = self.run("together", "--faultlab", "--faultlab-matrix", "--faultlab-jobs", "2", *selected)
        assert len(faults) == len(EXPECTED), process.stdout
        return {fault["id"]: _verdict(fault) for fault in faults}

    def alone(self, fault: str) -> Verdict:
        """By a pytest that runs every test with this fault in it."""
        learnt = str(self.folder / "learnt.json")
        process, faults = self.run(fault, "--faultlab-inject", fault, "--faultlab-learnt", learnt)
        return _verdict(faults[0], process.returncode) if faults else Verdict("", {}, process.returncode)


def _verdict(fault: Mapping[str, Any], exit: int = 0) -> Verdict:
    reached = [cell for cell in fault["cells"] if cell["activations"]]
    outcomes = {cell["test"]: (cell["outcome"], cell["kind"], cell["activations"]) for cell in reached}
    return Verdict(fault["status"], outcomes, exit)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    made = Suite(tmp_path_factory.mktemp("line"))
    (made.folder / "line.py").write_text(MODULE)
    (made.folder / "test_line.py").write_text(TESTS)
    return made


@pytest.fixture(scope="module")
def copied(suite: Suite) -> dict[str, Verdict]:
    """Of every fault, by `pytest --faultlab`."""
    return suite.together()


@pytest.mark.parametrize(("fault", "status"), EXPECTED.items())
def test_the_copies_say_of_each_fault_what_the_tests_are_known_to_see(
    copied: dict[str, Verdict], fault: str, status: str
) -> None:
    assert copied[fault].status == status


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault == FIRST else MORE)
        for fault in EXPECTED
        if not fault.startswith("process.")
    ],
)
def test_a_copy_and_a_process_of_its_own_agree_on_every_test(
    copied: dict[str, Verdict], suite: Suite, fault: str
) -> None:
    alone = suite.alone(fault)
    assert alone.outcomes
    assert (alone.status, alone.outcomes) == (copied[fault].status, copied[fault].outcomes)


@MORE
def test_what_ends_a_copy_ends_a_pytest_of_its_own(suite: Suite) -> None:
    alone = suite.alone("process.killed")
    assert (alone.status, alone.exit) == ("", -signal.SIGKILL)

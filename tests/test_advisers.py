"""The ready-made guards beside the user's: what they try out and say is nothing that the run did."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

import faultlab
from faultlab.detectors.guards import Observer
from faultlab.detectors.warned import Warnings
from faultlab.results import Status
from faultlab.seams.clock import Clock
from tests import warm
from tests.support import SMALL, small

ROOT = Path(__file__).parents[1]
DIGITS = (ROOT / "scenarios" / "digits" / "scenario.yaml").read_text(encoding="utf-8")
LARGER = pytest.mark.nightly(reason="once more on digits; the quick ring has it on the smallest target")


class Warner(pl.Callback):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        _warn()


def _warn() -> None:
    warnings.warn("degrees of freedom", stacklevel=1)


@pytest.mark.parametrize("target", [SMALL, pytest.param(DIGITS, marks=LARGER)], ids=["small", "digits"])
def test_faults_leave_the_same_behind_whether_guards_try_copies_of_the_module_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(ROOT)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(target)
    # In turn: of forward, with a memory, with random numbers, by the last layer; of the weights; of the generator.
    select = ["forward.cached", "forward.noise", "forward.detached-midway", "weights.decayed", "random.reseeded*step"]
    runs = [
        faultlab.run(scenario, select=select, advice=advice, out=tmp_path / str(advice)) for advice in (True, False)
    ]
    found = [[(f.id, f.status, f.activations, f.first_step, f.harm, f.warnings) for f in run.faults] for run in runs]
    assert len(found[0]) == len(select)
    assert found[0] == found[1]


def test_what_an_adviser_warns_of_is_no_warning_of_the_run_and_hides_none() -> None:
    clock, adviser = Clock(), Warner()
    shown = Warnings(clock)
    Observer(clock, shown, beside=True).observe(adviser, "Warner")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with shown.listening():
            adviser.on_train_start(None, None)
            assert shown.seen == {}
            _warn()
        assert list(shown.seen) == ["UserWarning: degrees of freedom"]


def test_a_callback_that_averages_weights_does_so_where_no_step_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard's busiest hook lies between a loss and its backward pass, where torch would refuse the change."""
    monkeypatch.chdir(ROOT)
    file = tmp_path / "gan.yaml"
    text = (ROOT / "scenarios" / "gan" / "scenario.yaml").read_text()
    file.write_text(text.replace("guards: []", "guards:\n  - {class_path: faultlab.guards.StepsTaken}"))
    report = faultlab.run(file, select=["callback.mutates-weights"], advice=False, out=tmp_path)
    (fault,) = report.faults
    assert fault.status is Status.SILENT
    assert fault.activations > 1


def test_verdicts_without_advice_are_not_taken_over_by_a_campaign_that_prescribes(tmp_path: Path) -> None:
    command = ["-m", "faultlab", "run", small(tmp_path), "--select", "return.none"]
    for more in (["--no-advice"], ["--resume"]):
        warm.run([*command, "--out", tmp_path, "-q", *more], cwd=ROOT).check_returncode()
    (fault,) = json.loads((tmp_path / "small" / "report.json").read_text())["faults"]
    assert fault["prescription"]

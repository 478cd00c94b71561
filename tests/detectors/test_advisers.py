"""The ready-made guards beside the user's: what they try out and say is nothing that the run did."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl

import faultlab
from faultlab import guards
from faultlab.core.report import Status
from faultlab.detectors.advisory_guards import Advisers
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.recorder import of_hooks
from faultlab.frameworks.lightning.seams.callbacks import named_callbacks, own_hooks
from tests import warm
from tests.guards.rig import QUIET, Healthy, loaders
from tests.support import SMALL, small

ROOT = Path(__file__).parents[2]
DIGITS = (ROOT / "scenarios" / "digits" / "scenario.yaml").read_text(encoding="utf-8")
COPIES = pytest.mark.nightly(
    reason="two campaigns each; guards/test_contract.py shows of every guard in the quick ring that it only looks"
)
# In turn: of forward, with a memory, with random numbers, by the last layer; of the weights; of the generator.
DISTURBED = ["forward.cached", "forward.noise", "forward.detached-midway", "weights.decayed", "random.reseeded*step"]


class Warner(pl.Callback):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        _warn()


def _warn() -> None:
    warnings.warn("degrees of freedom", stacklevel=1)


@COPIES
@pytest.mark.parametrize(
    ("target", "select"),
    [
        pytest.param(SMALL, DISTURBED, id="small"),
        pytest.param(DIGITS, DISTURBED, id="digits"),
    ],
)
def test_faults_leave_the_same_behind_whether_guards_try_copies_of_the_module_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, select: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(target)
    runs = [
        faultlab.run(scenario, select=select, advice=advice, out=tmp_path / str(advice)) for advice in (True, False)
    ]
    found = [[(f.id, f.status, f.activations, f.first_step, f.harm, f.warnings) for f in run.faults] for run in runs]
    assert len(found[0]) == len(select)
    assert found[0] == found[1]


def test_what_an_adviser_warns_of_is_no_warning_of_the_run_and_hides_none() -> None:
    clock, adviser = LightningClock(), Warner()
    shown = Warnings(clock)
    warn = Observer(clock, shown, own_hooks).beside([adviser])["on_train_start"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with shown.listening():
            warn(None, None)
            assert shown.seen == {}
            _warn()
        assert list(shown.seen) == ["UserWarning: degrees of freedom"]


def test_the_trainer_calls_one_callback_for_all_advisers() -> None:
    clock = LightningClock()
    advisers = Advisers({"monitor": "val_loss", "record": True}, clock, Warnings(clock), own_hooks)
    callback = of_hooks(advisers.hooks())
    assert named_callbacks(SimpleNamespace(callbacks=[callback])) == []
    trainer = pl.Trainer(max_steps=2, callbacks=[callback], **QUIET)
    trainer.fit(Healthy(), *loaders())
    told = advisers.advisory()
    assert set(told.seconds) == {type(guard).__name__ for guard in guards.all("full")}
    assert not told.broken
    assert told.summary


def test_advisers_that_could_not_look_say_so_and_none_alerts_anybody() -> None:
    class Uncopied(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    clock = LightningClock()
    advisers = Advisers({"monitor": "val_loss"}, clock, Warnings(clock), own_hooks)
    pl.Trainer(max_epochs=1, callbacks=[of_hooks(advisers.hooks())], **QUIET).fit(Uncopied(), *loaders())
    idle = advisers.advisory().idle
    assert "SamplesIndependent looked 0 times" in idle["SamplesIndependent"]
    assert "StepsTaken" not in idle
    assert not any(guard.announces for guard in advisers._made)


def test_an_alarm_of_one_adviser_keeps_none_of_the_others_from_looking() -> None:
    clock, heard = LightningClock(), []

    class Alarming(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            raise guards.Alarm("Alarming", "check", "found", "remedy")

    class Stopping(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = True

    class Listening(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            heard.append((clock.tried, trainer.should_stop))

    observer = Observer(clock, Warnings(clock), own_hooks)
    trainer = SimpleNamespace(should_stop=False)
    observer.beside([Alarming(), Stopping(), Listening()])["on_train_start"](trainer, None)
    assert heard == [(True, False)]
    assert not trainer.should_stop
    assert [(alert.name, alert.how, alert.reason) for alert in observer.alerts] == [
        ("Alarming", "raised", "check"),
        ("Stopping", "stopped", ""),
    ]
    assert not clock.tried


@pytest.mark.nightly(reason="a campaign on the GAN")
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


@pytest.mark.nightly(reason="two campaigns; test_records.py has that nothing is taken over from another plan")
def test_verdicts_without_advice_are_not_taken_over_by_a_campaign_that_prescribes(tmp_path: Path) -> None:
    command = ["-m", "faultlab", "run", small(tmp_path), "--select", "return.none"]
    for more in (["--no-advice"], ["--resume"]):
        warm.run([*command, "--out", tmp_path, "-q", *more], cwd=ROOT).check_returncode()
    (fault,) = json.loads((tmp_path / "small" / "selected" / "report.json").read_text())["faults"]
    assert fault["prescription"]

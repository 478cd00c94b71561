"""`faultlab.run` of a module and data that the calling process holds."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import faultlab
from faultlab import api
from faultlab.config.given_scenario import given
from faultlab.config.scenario import project_root
from faultlab.config.source_lookup import known_as
from faultlab.core.report import FaultResult, Report
from faultlab.engines import fork_live
from faultlab.errors import ScenarioError, UsageError
from faultlab.targets import live
from tests import warm
from tests.lab import ROOT
from tests.support import small
from tests.zoo.guards import FiniteLoss
from tests.zoo.models import classifier

pytestmark = [
    pytest.mark.usefixtures("from_the_root"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="objects reach runs by a fork"),
]

FAULTS = ["loss.nan@step=3", "label.shuffled@always", "step.system-exit@step=3"]
# A process like a notebook's: threads print and hold locks, torch has computed on several threads, and the class has
# no file.
THREADED = """\
import io, logging, sys, threading, time
import torch
import faultlab
from tests.zoo.models import classifier

class Notebook(io.TextIOBase):
    printed = ""

    def write(self, text):
        Notebook.printed += text
        return len(text)

logging.getLogger("mine").addHandler(logging.StreamHandler(Notebook()))
sys.stdout = logging.getLogger("mine").handlers[0].stream
lock = threading.Lock()

def print_for_ever():
    while True:
        with lock:
            print(end="", flush=True)

for _ in range(4):
    threading.Thread(target=print_for_ever, daemon=True).start()
torch.set_num_threads(4)
weights = torch.randn(600, 600, requires_grad=True)
(weights @ weights).relu().sum().backward()
given, data = classifier()

class Mine(type(given)):
    def on_train_start(self):
        logging.getLogger("mine").warning("a training starts")

trainer = {"max_epochs": 1}
report = faultlab.run(Mine(), data, trainer=trainer, select=["loss.nan@step=3"], advice=False, out=sys.argv[1])
sys.stdout = sys.__stdout__
print("here", [Notebook.printed], "reasons", report.reasons, "faults", [fault.status.value for fault in report.faults])
"""


def _module() -> Any:
    return classifier()[0]


def _data() -> Any:
    # The loaders alone: a second module must not change the random numbers that the first one's training gets.
    with torch.random.fork_rng():
        return classifier()[1]


run = functools.partial(faultlab.run, trainer={"max_epochs": 2}, progress=False)


def _judged(fault: FaultResult) -> tuple[object, ...]:
    return fault.id, fault.status, fault.activations, fault.first_step, fault.harm


def test_functions_are_judged_as_a_scenario_that_names_them(tmp_path: Path) -> None:
    named = faultlab.run(small(tmp_path), select=FAULTS, advice=False, out=tmp_path)
    given = run(_module, _data, select=FAULTS, advice=False, out=tmp_path, name="given")
    assert given.reasons == []
    assert [_judged(fault) for fault in given.faults] == [_judged(fault) for fault in named.faults]
    assert given.baseline.metrics == named.baseline.metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], Report]:
    """A module after its campaign, its weights before, and the report."""
    module, data = classifier()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    guards = [FiniteLoss, FiniteLoss(), {"detect_anomaly": True}]
    out = tmp_path_factory.mktemp("objects")
    report = run(
        module, data, guards=guards, monitor=("val_loss", "min"), select=["loss.nan@step=3", "loss.zeroed"], out=out
    )
    return module, before, report


def test_a_module_keeps_its_weights(trained: tuple[Any, dict[str, Any], Report]) -> None:
    module, before, _ = trained
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module._trainer is None


def test_every_run_trains_from_the_weights_that_the_module_has(trained: tuple[Any, dict[str, Any], Report]) -> None:
    _, _, report = trained
    assert report.baseline.deterministic
    assert report.reasons == []


def test_classes_instances_and_flags_are_guards(trained: tuple[Any, dict[str, Any], Report]) -> None:
    _, _, report = trained
    nan = next(fault for fault in report.faults if fault.mode == "loss.nan")
    assert {found.name for found in nan.detected_by} >= {"FiniteLoss", "FiniteLoss-1", "detect_anomaly"}
    assert report.baseline.measure["metric"] == "val_loss"


def test_a_campaign_is_named_after_the_class_and_has_a_page(trained: tuple[Any, dict[str, Any], Report]) -> None:
    _, _, report = trained
    assert report.scenario == "Classifier"
    assert Path(report.page).is_file()
    assert Path(report.page).parts[-3:-1] == ("Classifier", "selected")


def test_a_process_with_threads_is_copied_and_what_its_runs_print_is_theirs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = warm.run(["-c", THREADED, str(tmp_path)], env=environment, cwd=ROOT)
    assert (tmp_path / "Mine" / "selected" / "index.html").is_file(), ended.stderr[-3000:]
    assert "here [''] reasons [] faults ['silent']" in ended.stdout, ended.stderr[-3000:]
    assert "a training starts" in (tmp_path / "Mine" / "selected" / "logs" / "clean-0.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainer": {"max_epoch": 2}}, "faultlab.run(trainer): Trainer has no argument 'max_epoch'\n"
                                        "    Did you mean 'max_epochs'?"),
        ({"trainer": 2}, "faultlab.run(trainer): unsupported int: expected the Trainer's keyword arguments"),
        ({"guards": [{"detect_anomalies": True}]}, "faultlab.run(guards): Trainer has no argument 'detect_anomalies'"),
        ({"guards": "FiniteLoss"}, "faultlab.run(guards): unsupported 'FiniteLoss': expected a list of callbacks"),
        ({"guards": ["FiniteLoss"]}, "faultlab.run(guards): unsupported 'FiniteLoss': expected a list of callbacks"),
        ({"guards": FiniteLoss}, "faultlab.run(guards): unsupported <class 'tests.zoo.guards.FiniteLoss'>: expected"),
        ({"engine": "spawn"}, "faultlab.run(engine): 'spawn' can't run objects of this process: expected 'fork'"),
        ({"monitor": ("val_loss", "lowest")}, "faultlab.run(monitor): invalid monitor ('val_loss', 'lowest')"),
        ({"name": "a/b"}, "faultlab.run(name): invalid name 'a/b'"),
        ({"select": "loss.nan"}, "faultlab.run(select): unsupported text 'loss.nan': expected a list of texts"),
        ({"select": ["los.nan"]}, "faultlab.run(select): no failure mode matches 'los.nan'\n"
                                  "    Did you mean 'loss.nan'?"),
        ({"ignore": ["los.nan"]}, "faultlab.run(ignore): no failure mode matches 'los.nan'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_wrong_argument_is_named_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(_module, _data, **arguments)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("target", [torch.nn.Linear(1, 1), 3], ids=["a plain module", "a number"])
def test_what_is_not_a_lightning_module_is_refused(target: Any) -> None:
    with pytest.raises(UsageError, match=r"faultlab.run\(target\): unsupported .*: expected a scenario file"):
        run(target, _data)


@pytest.mark.parametrize("argument", [{"data": [1]}, {"trainer": {}}, {"guards": [FiniteLoss]}, {"name": "x"}], ids=str)
def test_a_scenario_takes_no_objects(argument: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"faultlab.run\({next(iter(argument))}\): a scenario names its own"):
        faultlab.run(small(tmp_path), **argument)


def test_a_process_that_uses_cuda_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UsageError, match=r"uses CUDA(.|\n)*Restart the process"):
        run(_module, _data)


def test_a_process_whose_copies_cannot_compute_gradients_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fork_live, "_can_train", lambda: False)
    with pytest.raises(ScenarioError, match=r"computed gradients on a machine with an accelerator(.|\n)*Restart"):
        run(_module, _data, out=tmp_path)


def test_a_copy_that_hangs_ends_the_campaign_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fork_live.LiveEngine, "patience", 1.0)
    monkeypatch.setattr(live, "give", lambda parts: time.sleep(60))
    with pytest.raises(ScenarioError, match=r"takes more than 1 s(.|\n)*Restart the process"):
        run(_module, _data, out=tmp_path)


def test_a_module_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    module, data = classifier()
    module.lock = threading.Lock()
    with pytest.raises(ScenarioError) as refused:
        run(module, data, out=tmp_path)
    assert str(refused.value) == (
        "faultlab.run(module): module can't be copied for each run: TypeError: cannot pickle '_thread.lock' object\n"
        "    Give its class, or a function that makes it."
    )


def test_a_function_that_returns_no_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"faultlab.run\(module\): (.|\n)*factory that returns one"):
        run(lambda: object(), _data, out=tmp_path)


class Typed:
    """Stands for a class that was typed at a prompt: it is of the main module, which has no file."""


def test_the_report_names_the_file_of_a_script_and_none_of_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Typed, "__module__", "__main__")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text("class Typed: ...\n")
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert api._source(Typed) == (tmp_path / "faultlab.run", "")
    main.__file__ = str(script)
    file, named = api._source(Typed)
    assert (file, named) == (script, str(script))
    scenario = given("Typed", None, [], file, named)
    assert known_as("__main__.Typed", scenario.script, project_root(scenario.file)) == "train.Typed"


def test_progress_goes_to_the_callback_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines: list[str] = []
    run(_module, _data, select=["loss.nan@step=3"], advice=False, out=tmp_path, progress=lines.append, name="small")
    assert lines[0] == "small: importing and running clean"
    assert lines[1].startswith("small: clean run ")
    assert lines[2:] == ["small: 1 fault", "small: 1 of 1 faults, 1 silent"]
    assert capsys.readouterr().out == ""

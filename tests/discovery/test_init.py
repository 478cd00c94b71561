"""`faultlab init`: files as people post them get a scenario that runs at once, with no file edited by hand."""

from __future__ import annotations

import json
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.cli import group
from faultlab.config.scenario import load
from faultlab.core.report import Report, Status
from faultlab.discovery import arguments, project_index, scenario_writer
from faultlab.discovery.candidates import Guess, Scouting, guess
from faultlab.discovery.module_source import read_module, roles
from faultlab.engines import Engine
from faultlab.errors import UsageError
from tests.support import Quiet

NEWCOMERS = Path(__file__).parents[1] / "newcomers"
MADE_UP = ("classifier", "mnist", "own_loaders", "text")
SCRIPTS = ("argparse_script", "autoencoder", "cli_script", "gan")
MORE = pytest.mark.nightly(
    reason="more posted files; the quick ring has one without data, test_posted_scripts.py a script with data"
)
POSTED = [
    pytest.param(file.stem, marks=() if file.stem == "mnist" else MORE) for file in sorted(NEWCOMERS.glob("[a-z]*.py"))
]


def init(scouting: Scouting, target: str | None = None, seconds: float = 60) -> tuple[Guess, Path]:
    file = Path("scenarios/mine.yaml")
    guessed = guess(scouting, project_index.find(target), file, lambda what: None, seconds)
    if guessed.found is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_text(scenario_writer.render(guessed, "faultlab init"), encoding="utf-8")
    return guessed, file


def run(engine: Engine, file: Path, *faults: str) -> Report:
    options = Options(select=faults, watch=Watch(quiet=0, advised=False))
    return Campaign(load(file), engine, options, Quiet()).run()


@pytest.mark.parametrize("name", POSTED)
def test_a_file_as_it_was_posted_is_broken_without_being_edited(
    name: str, scouting: Scouting, engine: Engine, folder: Path
) -> None:
    if name == "cli_script" and find_spec("jsonargparse") is None:
        pytest.skip("LightningCLI needs jsonargparse")
    shutil.copy(NEWCOMERS / f"{name}.py", folder)
    guessed, file = init(scouting)
    assert guessed.found is not None, guessed.tried
    assert guessed.found["how"] == ("script" if name in SCRIPTS else "made_up" if name in MADE_UP else "data")
    assert guessed.found["fit_seconds"] < 5
    report = run(engine, file, "step.raises", "weights.nan", "init.zero")
    assert {fault.mode: fault.status for fault in report.faults}["step.raises"] is Status.DETECTED
    assert report.by_mode()["weights.nan"] in (Status.SILENT, Status.DETECTED)
    # A module that is built by a script is found by its name when its arguments are broken.
    assert report.by_mode()["init.zero"] in (Status.SILENT, Status.NO_EFFECT, Status.DETECTED)
    assert report.passed, report.reasons
    left = {entry.name for entry in folder.iterdir()} - {f"{name}.py", "scenarios", "reports", "__pycache__"}
    assert not left, "neither init nor run leaves anything beside the files that it says"


def test_the_callbacks_of_a_script_are_its_guards(scouting: Scouting, engine: Engine, folder: Path) -> None:
    shutil.copy(NEWCOMERS / "argparse_script.py", folder)
    guessed, file = init(scouting)
    assert guessed.found is not None
    # What keeps checkpoints or looks at learning rates judges nothing.
    assert guessed.found["guards"] == ["EarlyStopping", "NanStopper"]
    (fault,) = run(engine, file, "loss.nan@step=8").faults
    assert fault.status is Status.DETECTED
    assert {found.name for found in fault.detected_by} >= {"EarlyStopping", "NanStopper"}


def _comments(file: Path) -> str:
    """Return the comments of a scenario, with their lines joined."""
    return " ".join(line.removeprefix("# ") for line in file.read_text().splitlines() if line.startswith("#"))


def _keeping(folder: Path, monitored: str) -> None:
    """The posted script, with a checkpoint alone, which it adds to a Trainer that is there."""
    text = (NEWCOMERS / "argparse_script.py").read_text()
    text = text.replace('EarlyStopping("val_loss", patience=3),', "")
    text = text.replace('ModelCheckpoint(monitor="val_loss"),', "")
    added = f"trainer.callbacks.append(ModelCheckpoint(monitor={monitored!r}, dirpath='kept'))\n    trainer.fit("
    (folder / "train.py").write_text(text.replace("trainer.fit(", added))


@pytest.mark.nightly(
    reason="a script of its own; the quick ring has what a checkpoint does whose metric comes too late"
)
def test_a_scripts_checkpoint_writes_nothing_and_raises_where_its_metric_is_missing(
    scouting: Scouting, engine: Engine, folder: Path
) -> None:
    _keeping(folder, "val_loss")
    _, file = init(scouting)
    comments = _comments(file)
    assert (
        "ModelCheckpoint (it writes files; a stand-in takes its place, which only checks that val_loss is logged)"
        in comments
    )
    assert "LearningRateMonitor (needs a logger, and judges nothing)" in comments
    report = run(engine, file, "metric.missing", "metric.renamed", "loss.zeroed")
    assert report.by_mode()["loss.zeroed"] is Status.SILENT
    for mode in ("metric.missing", "metric.renamed"):
        (fault,) = [fault for fault in report.faults if fault.mode == mode]
        assert [(found.kind, found.names_cause) for found in fault.detected_by] == [("framework", True)], fault
    assert not (folder / "kept").exists()


def test_a_checkpoint_whose_metric_comes_too_late_for_a_short_run_is_left_out(scouting: Scouting, folder: Path) -> None:
    _keeping(folder, "after_ten_epochs")
    guessed, file = init(scouting)
    assert guessed.found is not None, guessed.tried
    assert any("could not find the monitored key" in why for _, why in guessed.tried)
    assert load(file).build.init_args["without"] == ["ModelCheckpoint"]  # type: ignore[union-attr]
    assert "ModelCheckpoint (listed under `without`)" in _comments(file)


def test_synthetic_data_is_called_synthetic(scouting: Scouting, folder: Path) -> None:
    shutil.copy(NEWCOMERS / "text.py", folder)
    guessed, file = init(scouting)
    assert "The data is synthetic" in file.read_text()
    assert "The data is synthetic" in scenario_writer.made_up(guessed)
    assert guessed.found is not None
    assert guessed.found["learns"], "it can be learnt"


def test_code_that_crashes_hangs_or_exits_is_survived(scouting: Scouting, folder: Path) -> None:
    module = "from pytorch_lightning import LightningModule\n\n\nclass Bad(LightningModule):\n    pass\n\n\n"
    ends = {
        "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "leave": "import os; os._exit(3)",
        "hang": "import time; time.sleep(600)",
    }
    for name, end in ends.items():
        Path(f"{name}.py").write_text(f"{module}{end}\nTrainer().fit(Bad())\n")
    begun = time.monotonic()
    said = {name: dict(init(scouting, f"{name}.py", seconds=12)[0].tried) for name in ends}
    script = {name: tried[f"running {name}.py up to Trainer.fit"] for name, tried in said.items()}
    assert "SIGSEGV" in script["crash"]
    assert "ended with status 3" in script["leave"]
    assert "still running" in script["hang"]
    assert time.monotonic() - begun < 300
    assert not Path("scenarios").exists(), "no broken file is left"


def test_what_can_not_be_trained_is_told_with_what_to_write(folder: Path) -> None:
    Path("graph.py").write_text(
        "import torch\nfrom pytorch_lightning import LightningModule\n\n\n"
        "class Graphs(LightningModule):\n"
        "    def __init__(self, widget):\n        super().__init__()\n\n"
        "    def training_step(self, batch, _):\n        return self.net(batch.x, batch.edge_index)\n\n"
        "    def configure_optimizers(self):\n        return torch.optim.Adam(self.parameters())\n"
    )
    ended = CliRunner().invoke(group, ["init", "graph.py"])
    assert isinstance(ended.exception, UsageError)
    assert ended.exception.exit_code == 2
    assert "widget" in str(ended.exception)
    assert "class_path: graph.Graphs, init_args: {widget: ...}" in str(ended.exception)
    assert not Path("scenarios").exists()


def test_json_is_one_document_with_the_scenario_the_attempts_and_the_notes(folder: Path) -> None:
    shutil.copy(NEWCOMERS / "text.py", folder)
    ended = CliRunner().invoke(group, ["init", "text.py", "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert found["scenario"] == "scenarios/sentiment-lstm.yaml"
    assert Path(found["scenario"]).is_file()
    assert [one["attempt"] for one in found["attempts"] if one["failed"] is None] == ["a training on synthetic data"]
    assert any(note.startswith("The data is synthetic") for note in found["notes"])
    assert found["seconds"] > 0


def test_json_of_a_failed_init_has_the_attempts_and_no_scenario(folder: Path) -> None:
    (folder / "train.py").write_text("from somewhere import Lit\n\nTrainer().fit(Lit())\n")
    ended = CliRunner().invoke(group, ["init", "train.py", "--json"], standalone_mode=False)
    assert ended.return_value == 2
    found = json.loads(ended.stdout)
    assert (found["scenario"], found["notes"]) == (None, [])
    assert "train.py: could not be trained" in found["error"]["message"]
    assert "No module named 'somewhere'" in found["attempts"][0]["failed"]


def test_who_trains_without_a_training_step_is_sent_to_the_doctor(folder: Path) -> None:
    script = "from pytorch_lightning import LightningModule, Trainer\n\n\nclass Lit(LightningModule):\n"
    Path("train.py").write_text(script + "    def train_step(self, batch, _): ...\n\n\nTrainer().fit(Lit())\n")
    ended = CliRunner().invoke(group, ["init", "train.py"])
    assert "Run `faultlab doctor train.py` to find out why its training step is not executed" in str(ended.exception)


def test_a_scenario_is_not_overwritten_unless_told(folder: Path) -> None:
    shutil.copy(NEWCOMERS / "text.py", folder)
    file = Path("scenarios/sentiment-lstm.yaml")
    file.parent.mkdir()
    file.write_text("mine")
    ended = CliRunner().invoke(group, ["init", "text.py"])
    assert "--force" in str(ended.exception)
    assert file.read_text() == "mine"


def test_several_modules_are_listed_to_choose_from(folder: Path) -> None:
    one = (
        "from pytorch_lightning import LightningModule\nclass A(LightningModule): ...\nclass B(LightningModule): ...\n"
    )
    Path("two.py").write_text(one)
    with pytest.raises(UsageError, match=r"faultlab init two.py:A\n +faultlab init two.py:B"):
        project_index.find("two.py")
    with pytest.raises(UsageError, match=r"two\.py:B"):
        project_index.find(None)
    assert project_index.find("two.py:B").class_path == "two.B"
    assert project_index.find("two.B").name == "B"
    # Of a base and what derives from it, the latter is meant.
    Path("base.py").write_text(one.replace("B(LightningModule)", "B(A)"))
    assert project_index.find("base.py").name == "B"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "no LightningModule"),
        ("absent.py", "no such file"),
        ("palin.py", r"no such file\. Did you mean 'plain\.py'\?"),
        ("absent.module:Lit", "no module|importing"),
        ("plain.py", "defines no LightningModule .its classes: Plain"),
        ("plain.py:Plian", "Plain"),
        ("broken.py", r"broken.py:2"),
        ("what is this", "expected a file or the path of a class"),
    ],
)
def test_a_target_that_is_none_is_told_with_a_remedy(target: str | None, said: str, folder: Path) -> None:
    Path("plain.py").write_text("class Plain: ...\n")
    if target is not None:
        Path("broken.py").write_text("x = 1\ndef\n")
    if target == "absent.module:Lit":
        assert project_index.find(target).source is None, "importing it may find it"
        return
    with pytest.raises(UsageError, match=said):
        project_index.find(target)


def test_looking_at_a_project_imports_neither_torch_nor_its_code(folder: Path) -> None:
    Path("loud.py").write_text("raise SystemExit('imported')\nclass A(LightningModule): ...\n")
    assert project_index.find(None).name == "A"
    assert "loud" not in sys.modules


@pytest.mark.parametrize(
    ("body", "batch", "found"),
    [
        ("x, y = batch\n        return self.f(x, y)", ["x", "y"], ["input", "label"]),
        ("x, _ = batch\n        return self.f(x)", ["x", "_"], ["input", "unused"]),
        ("(x1, x2), y = batch\n        return x1 + x2 + y", [["x1", "x2"], "y"], [["input", "input"], "label"]),
        ("return self.f(batch)", "x", "input"),
        ("return batch[0] + batch[1]", ["x", "y"], ["input", "label"]),
        ("return self.shared(batch, 'train')", {"img": None, "mask": None}, {"img": "input", "mask": "label"}),
        (
            "return self.model(**batch)",
            {"input_ids": None, "attention_mask": None, "labels": None},
            {"input_ids": "input", "attention_mask": "mask", "labels": "label"},
        ),
    ],
)
def test_a_batch_is_read_from_how_the_step_takes_it_apart(body: str, batch: Any, found: Any, folder: Path) -> None:
    Path("lit.py").write_text(
        f"class A(LightningModule):\n    def training_step(self, batch, i):\n        {body}\n\n"
        "    def shared(self, b, stage):\n        return b['img'] + b['mask']\n"
    )
    reading = read_module(project_index.read(Path("lit.py")), "A")
    assert reading.batch == batch
    assert roles(batch) == found


def test_constructor_arguments_get_values_by_name_and_annotation(folder: Path) -> None:
    Path("lit.py").write_text(
        "import torch.nn as nn\n\n\nclass Encoder(nn.Module):\n    def __init__(self, width: int): ...\n\n\n"
        "class A(LightningModule):\n"
        "    def __init__(self, encoder, lr, num_classes: int, flag: bool, hparams, thing, given=1):\n"
        "        self.x = hparams.hidden_dim\n"
    )
    source = project_index.read(Path("lit.py"))
    values, unknown = arguments.guess(source, read_module(source, "A"), importable=True)
    assert values == {
        "encoder": {"class_path": "lit.Encoder", "init_args": {"width": 32}},
        "lr": 0.001,
        "num_classes": 10,
        "flag": False,
        "hparams": {"class_path": "argparse.Namespace", "init_args": {"hidden_dim": 32}},
    }
    assert unknown == ["thing"]


def test_the_recorded_first_ten_minutes_show_what_is_written_today(folder: Path) -> None:
    page = (NEWCOMERS.parents[1] / "docs" / "first-ten-minutes.md").read_text(encoding="utf-8")
    assert (NEWCOMERS / "mnist.py").read_text(encoding="utf-8") in page
    commands = [line.removeprefix("$ faultlab ").split()[0] for line in page.splitlines() if line[:10] == "$ faultlab"]
    assert commands == ["init", "run", "prescribe"]
    Path("shown.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert load(Path("shown.yaml")).name == "mnist-model"


def _split(folder: Path, importing: str) -> None:
    """A newcomer's one file as a project has it: the class in a file of its own, and a script beside it."""
    module, found, rest = (NEWCOMERS / "argparse_script.py").read_text().partition("def main")
    assert found, "the script's own part is a function"
    (folder / "model.py").write_text(module)
    (folder / "train.py").write_text(f"{importing}\n\n\n{found}{rest}")


def test_a_script_that_imports_its_module_is_named_alone(scouting: Scouting, folder: Path) -> None:
    _split(folder, "from model import *  # noqa")
    (name,) = project_index.read((folder / "model.py").resolve()).modules
    guessed, _ = init(scouting, "train.py")
    assert guessed.found is not None, guessed.tried
    assert (guessed.found["how"], guessed.found["script"]) == ("script", "train.py")
    assert guessed.target.name == name, "known once the script has been run"


def test_what_a_script_imports_from_the_project_can_be_trained_without_the_script(folder: Path) -> None:
    _split(folder, "from model import *")
    (name,) = project_index.read((folder / "model.py").resolve()).modules
    (folder / "other.py").write_text(f"from model import {name}\nimport nowhere\n\nTrainer().fit({name}())\n")
    found = project_index.find("other.py")
    assert (found.name, found.class_path, found.shown) == (name, f"model.{name}", "other.py")
    assert [source.shown for source in project_index.scripts_for(found)] == ["other.py"], "the one that was asked for"


def test_a_script_that_ends_before_it_trains_is_told_why_and_what_to_do(folder: Path) -> None:
    (folder / "train.py").write_text("from somewhere import Lit\n\nTrainer().fit(Lit())\n")
    ended = CliRunner().invoke(group, ["init", "train.py"])
    assert isinstance(ended.exception, UsageError)
    assert "No module named 'somewhere'. Make sure that it reaches Trainer.fit" in ended.output
    assert "train when it is run by itself" in str(ended.exception)
    assert not Path("scenarios").exists()


@pytest.mark.parametrize(
    "last",
    [
        "import asyncio\nasyncio.run(asyncio.to_thread(pl.Trainer().fit, Lit()))",
        "from functools import partial\npartial(pl.Trainer.fit, pl.Trainer())(Lit())",
        "import threading\nthreading.Thread(target=pl.Trainer().fit, args=[Lit()]).start()",
    ],
)
def test_a_script_that_hands_fit_over_trains(last: str, folder: Path) -> None:
    (folder / "train.py").write_text(f"class Lit(pl.LightningModule):\n    pass\n\n{last}\n")
    assert project_index.read(Path("train.py")).fits


def test_a_file_is_read_in_the_encoding_that_it_declares(folder: Path) -> None:
    text = "class Lit(pl.LightningModule):\n    name = 'caf\xe9'\n"
    (folder / "train.py").write_bytes(f"# -*- coding: latin-1 -*-\n{text}".encode("latin-1"))
    assert "caf\xe9" in project_index.read(Path("train.py")).text
    (folder / "other.py").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"other\.py:2: byte 0xe9 is not valid utf-8\. Save it as UTF-8, or declare"):
        project_index.read(Path("other.py"))


def test_what_a_script_trains_counts_more_than_a_class_that_nobody_asked_for(scouting: Scouting, folder: Path) -> None:
    text = (NEWCOMERS / "autoencoder.py").read_text()
    head, line, rest = text.partition("\nencoder = ")
    assert line, "the script's own part begins there"
    (folder / "train.py").write_text(f"{head}\nclass Never(AutoEncoder):\n    pass\n{line}{rest}")
    guessed, _ = init(scouting, "train.py")
    assert guessed.found is not None, guessed.tried
    assert (guessed.found["how"], guessed.target.name) == ("script", "AutoEncoder")
    assert project_index.find("train.py:Never").asked, "one that is asked for is the one"

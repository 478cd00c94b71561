"""Training scripts of any make get a scenario that runs at once, with their own arguments, and find nothing changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.cli import group
from faultlab.config.scenario import load
from faultlab.core.patching import Patches
from faultlab.core.report import Status
from faultlab.discovery import candidates, cli_config, project_index, scenario_writer
from faultlab.discovery.candidates import Scouting
from faultlab.discovery.left_behind import LeftBehind
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import WRONG
from faultlab.engines import Engine
from faultlab.errors import ScenarioError, UsageError
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from tests.posted import POSTED, Posted
from tests.support import Quiet


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One a test: its processes stay in the folder that they were started in, where scripts look for their files."""
    working = engines.create(engines.default(), 2)
    yield working
    working.close()


MORE = pytest.mark.nightly(reason="a posted script of each make; the quick ring has one with required arguments")
FEW = [pytest.param(one, id=one.name, marks=() if one.name == "argparse_required" else MORE) for one in POSTED]


def _state(folder: Path) -> dict[str, str]:
    """What is in a folder, compiled code left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def _init(scouting: Scouting, posted: Posted, file: Path) -> dict[str, Any]:
    found = project_index.find(posted.target)
    guessed = candidates.guess(scouting, found, file, lambda what: None, arguments_given=posted.arguments)
    assert guessed.found is not None, guessed.tried
    file.write_text(scenario_writer.render(guessed, "faultlab init"), encoding="utf-8")
    return guessed.found


def _installed(posted: Posted) -> None:
    for package in posted.needs:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("posted", FEW)
def test_a_script_of_any_make_gets_a_scenario_that_runs_at_once_and_finds_its_folder_as_it_was(
    posted: Posted, scouting: Scouting, engine: Engine, folder: Path
) -> None:
    _installed(posted)
    posted.copy_to(folder)
    before = _state(folder)
    found = _init(scouting, posted, Path("mine.yaml"))
    assert found["how"] == "script", "nothing is made up"
    assert found["steps"] >= 16
    assert _state(folder).keys() - before.keys() == {"mine.yaml"}
    assert before.items() <= _state(folder).items()
    if not posted.quick_to_build:
        return
    options = Options(select=("step.raises", "loss.nan@step=8"), watch=Watch(quiet=0, advised=False))
    report = Campaign(load(Path("mine.yaml")), engine, options, Quiet()).run()
    assert report.by_mode()["step.raises"] is Status.DETECTED
    assert report.by_mode()["loss.nan"] in (Status.SILENT, Status.DETECTED)
    assert report.passed, report.reasons
    changed = {name for name, held in before.items() if _state(folder).get(name) != held}
    assert not changed, "a run changes no file of the user's"


@pytest.mark.nightly(reason="two scripts, each tried twice, once on a busy machine")
@pytest.mark.parametrize("posted", [one for one in POSTED if one.name in ("argparse_required", "kfold")], ids=str)
def test_a_busy_machine_gets_the_same_scenario(posted: Posted, folder: Path) -> None:
    posted.copy_to(folder)
    written = []
    for load_ in (0, 2 * (os.cpu_count() or 1)):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load_)]
        try:
            with Scouting() as scouting:
                _init(scouting, posted, Path("mine.yaml"))
        finally:
            for one in busy:
                one.kill()
                one.wait()
        written.append(Path("mine.yaml").read_text())
    assert written[0] == written[1]


def test_what_a_script_makes_while_it_is_tried_is_removed_again(folder: Path, tmp_path_factory: Any) -> None:
    (folder / "mine.txt").write_text("mine")
    before = _state(folder)
    left = LeftBehind(tmp_path_factory.mktemp("log") / "made")
    with Patches() as patches:
        overlay = Overlay(lambda: str(tmp_path_factory.mktemp("upper")), [str(folder)])
        file_calls.take_over(patches, overlay)
        with overlay.preparing():
            os.makedirs("data/raw")
            Path("data/raw/table.csv").write_text("1")
            Path("note.txt").write_text("started")
    assert _state(folder).keys() - before.keys() == {"data", "data/raw", "data/raw/table.csv", "note.txt"}
    left.remove()
    assert _state(folder) == before


def test_a_config_of_lightning_cli_is_told_from_a_scenario_and_from_any_other_file(folder: Path) -> None:
    Path("config.yaml").write_text("model: {class_path: pkg.Lit}\ntrainer: {max_epochs: 2}\n")
    Path("sub.yaml").write_text("fit:\n  model: {width: 2}\n  data: {batch_size: 4}\n")
    Path("scenario.yaml").write_text("schema: 1\nname: s\nmodule: {class_path: a.B}\ntrainer: {}\n")
    Path("other.yaml").write_text("lr: 0.1\n")
    assert project_index.find("config.yaml").name == "Lit"
    assert project_index.find("sub.yaml").name == "sub"
    assert [cli_config.is_cli_config(Path(f"{name}.yaml")) for name in ("config", "sub", "scenario", "other")] == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"already a scenario\. Run it:\n +faultlab run scenario\.yaml"):
        project_index.find("scenario.yaml")
    with pytest.raises(UsageError, match=r"other\.yaml:1: not a config of LightningCLI"):
        project_index.find("other.yaml")
    Path("main.py").write_text("from lightning.pytorch.cli import LightningCLI\nLightningCLI()\n")
    found = [
        build["init_args"]
        for _, _, build in candidates.builds(project_index.find("config.yaml"), ["--trainer.max_steps", "9"])
    ]
    assert found == [
        {"script": "main.py", "arguments": ["fit", "--config", "config.yaml", "--trainer.max_steps", "9"]},
        {"config": "config.yaml", "arguments": ["--trainer.max_steps", "9"]},
    ]
    (first, *_) = candidates.builds(project_index.find("sub.yaml"))
    assert first[2]["init_args"]["arguments"] == ["--config", "sub.yaml", "fit"]


def test_what_follows_two_dashes_is_the_scripts(folder: Path) -> None:
    Path("s.yaml").write_text(
        "schema: 1\nname: s\nbuild: {class_path: faultlab.targets.script.build, init_args: {script: train.py}}\n"
    )
    changed = load(Path("s.yaml")).with_arguments(["--lr", "0.1"])
    assert changed.for_victims()["build"]["init_args"] == {"script": "train.py", "arguments": ["--lr", "0.1"]}
    Path("plain.yaml").write_text("schema: 1\nname: s\nmodule: {class_path: a.B}\n")
    with pytest.raises(ScenarioError, match="does not run a script"):
        load(Path("plain.yaml")).with_arguments(["--lr", "0.1"])
    ended = CliRunner().invoke(group, ["run", "absent.yaml", "--", "--lr", "0.1"])
    assert "absent.yaml: no such file" in str(ended.exception)
    ended = CliRunner().invoke(group, ["run", "-q", "--", "absent.yaml"])
    assert "absent.yaml: no such file" in str(ended.exception), "without a path before them the dashes begin the paths"


@pytest.mark.nightly(reason="a training; what follows two dashes reaches the doctor's script as it does init's")
def test_the_doctor_runs_a_script_with_its_arguments(engine: Engine, folder: Path) -> None:
    posted = next(one for one in POSTED if one.name == "argparse_required")
    posted.copy_to(folder)
    (broken,) = [one for one in examine(posted.target, 60, engine=engine) if one.verdict == WRONG]
    assert "the following arguments are required: --data, --lr" in broken.what
    found = list(examine(posted.target, 60, engine=engine, arguments=posted.arguments))
    assert not [one for one in found if one.verdict == WRONG], found


@pytest.mark.nightly(reason="a process that tries; what a script says that exits is in the quick ring")
def test_nothing_is_made_up_where_a_script_fails_with_the_arguments_that_were_given(folder: Path) -> None:
    posted = next(one for one in POSTED if one.name == "argparse_required")
    posted.copy_to(folder)
    ended = CliRunner().invoke(group, ["init", posted.target, "--", "--data", "many"])
    assert isinstance(ended.exception, UsageError)
    assert "argument --data: invalid int value: 'many'" in ended.output
    assert not Path("scenarios").exists()

"""Training scripts of any make get a scenario that runs at once, with their own arguments, and find nothing changed."""

from __future__ import annotations

import hashlib
import multiprocessing
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
from faultlab.discovery import candidates, cli_config, length, project_index, scenario_writer
from faultlab.discovery.candidates import Scouting
from faultlab.discovery.left_behind import LeftBehind
from faultlab.discovery.length import Length
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import WRONG
from faultlab.engines import Engine, processes
from faultlab.errors import ScenarioError, TargetError, UsageError
from faultlab.frameworks.lightning.main_script import MainScript
from faultlab.frameworks.lightning.target import Target
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from faultlab.targets import script
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


@pytest.fixture
def main(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a script may be run in this very process."""
    original = sys.modules["__main__"]
    for name in ("__main__", "__mp_main__"):
        monkeypatch.setitem(sys.modules, name, original)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    yield folder
    multiprocessing.set_start_method(None, force=True)


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


def test_a_script_finds_what_it_finds_under_python(main: Path) -> None:
    (main / "sub").mkdir()
    (main / "sub" / "train.py").write_text(
        "import os, pickle, sys\n\nclass Kept: ...\n\ndef step(): ...\n\n"
        "same = type(pickle.loads(pickle.dumps(Kept()))) is Kept\n"
        "facts = [__name__, __file__, sys.argv, os.getcwd(), step.__module__, same, __package__, __spec__]\n"
        "main = '__main__' == __name__ and sys.modules['__main__'].Kept is Kept\n"
    )
    script = MainScript(main / "sub" / "train.py")
    with pytest.raises(TargetError, match=r"calls no Trainer\.fit"):
        script.run_to_fit(["--lr", "0.1"])
    own = str(main / "sub" / "train.py")
    argv = [os.path.join("sub", "train.py"), "--lr", "0.1"]
    assert script.module.facts == ["__main__", own, argv, str(main), "__main__", True, None, None]
    assert script.module.main
    assert sys.path[0] == str(main / "sub")
    assert sys.modules["__mp_main__"] is script.module, "what spawned processes send back is found"


def test_a_script_of_a_package_is_run_as_a_module(main: Path) -> None:
    (main / "owned" / "deep").mkdir(parents=True)
    (main / "owned" / "__init__.py").touch()
    (main / "owned" / "deep" / "__init__.py").touch()
    (main / "owned" / "size.py").write_text("SIZE = 3\n")
    (main / "owned" / "deep" / "train.py").write_text("from ..size import SIZE\nfacts = __package__, __spec__.name\n")
    script = MainScript(main / "owned" / "deep" / "train.py")
    with pytest.raises(TargetError, match=r"calls no Trainer\.fit"):
        script.run_to_fit([])
    assert script.module.SIZE == 3
    assert script.module.facts == ("owned.deep", "owned.deep.train")


def test_a_script_that_exits_is_told_with_what_it_printed_and_how_to_give_it_arguments(main: Path) -> None:
    (main / "train.py").write_text(
        "import argparse\n\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--data', required=True)\nparser.parse_args()\n"
    )
    with pytest.raises(TargetError) as raised:
        MainScript(main / "train.py").run_to_fit([])
    assert raised.value.message.startswith("train.py, line 5, ends with SystemExit: 2; its last output: usage:")
    assert raised.value.message.endswith("the following arguments are required: --data")
    assert "after --" in raised.value.remedy
    with pytest.raises(TargetError, match="runs to its end"):
        MainScript(main / "train.py").run_to_fit(["--data", "x"])


TWICE = """
from __future__ import annotations
import multiprocessing
from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch

multiprocessing.set_start_method("spawn")
torch.set_num_interop_threads(1)
MODELS = {}

def register(cls):
    assert cls.__name__ not in MODELS
    MODELS[cls.__name__] = cls
    return cls

@dataclass
class Config:
    widths: list[int] = field(default_factory=lambda: [1])

class Base(pl.LightningModule):
    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        MODELS[f"sub {cls.__name__}"] = cls

    def __init__(self, config):
        super(Base, self).__init__()
        assert isinstance(config, Config)

@register
class First(Base): ...

@register
class Second(Base): ...

def main():
    for name in ("First", "Second"):
        pl.Trainer(logger=False, enable_checkpointing=False).fit(MODELS[name](Config()))
    print(sorted(MODELS))

if __name__ == "__main__":
    main()
"""


SEARCHES = """
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner import Tuner

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.learning_rate, self.batch_size = 0.25, 4
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(16, 2), batch_size=self.batch_size)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)

net = Net()
tuner = Tuner(pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False))
net.batch_size = tuner.scale_batch_size(net)
found = tuner.lr_find(net)
net.learning_rate = found.suggestion()
pl.Trainer(max_epochs=7, logger=False, enable_checkpointing=False).fit(net)
"""


def test_a_search_for_settings_is_not_taken_for_the_training(main: Path) -> None:
    (main / "train.py").write_text(SEARCHES)
    reached = MainScript(main / "train.py").run_to_fit([])
    assert reached.trainer.max_epochs == 7
    net = reached.call["model"]
    assert (net.batch_size, net.learning_rate) == (4, 0.25), "what the module has, as nothing was searched"


def test_a_script_can_be_run_again_and_its_module_keeps_its_class(main: Path) -> None:
    (main / "train.py").write_text(TWICE)
    script = MainScript(main / "train.py")
    first = script.run_to_fit([])
    config = script.module.Config
    again = script.run_to_fit([])
    assert type(first.call["model"]) is type(again.call["model"]) is script.module.First
    assert script.module.Config is not config, "what is decorated is made anew"
    assert sorted(script.module.MODELS) == ["First", "Second", "sub First", "sub Second"]
    assert type(script.run_to_fit([], "Second").call["model"]).__name__ == "Second"
    with pytest.raises(TargetError, match=r"no Trainer\.fit of Third"):
        script.run_to_fit([], "Third")


OWN_TRAINER = """
import pytorch_lightning as pl

class Own(pl.Trainer):
    def __init__(self, epochs, **kwargs):
        self.asked = epochs
        super().__init__(max_epochs=2 * epochs, **kwargs)
        self.noted = ["made"]
        self.self_made = self

    def train(self, module):
        self.noted.append("train")
        self.fit(module)

Own(3, accelerator="tpu", logger=False).train(pl.LightningModule())
"""


def test_a_trainer_of_the_scripts_own_has_what_its_class_sets(main: Path) -> None:
    (main / "train.py").write_text(OWN_TRAINER)
    _, _, arguments = script.build("train.py")
    assert arguments["max_epochs"] == 6
    made = arguments["trainer_class"](max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert (made.asked, made.noted, made.max_epochs) == (3, ["made", "train"], 1)
    assert made.self_made is made
    assert made.fit_loop.trainer is made, "what Lightning sets is the new Trainer's"


@pytest.mark.nightly(reason="an interpreter that has not imported Lightning; in the others it is there before")
def test_lightning_may_be_imported_as_late_as_in_the_function_that_trains(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def main():\n    import pytorch_lightning as pl\n"
        "    pl.Trainer(accelerator='tpu', logger=False).fit(pl.LightningModule())\n\nmain()\n"
    )
    code = (
        "import sys, torch\nfrom faultlab.targets import script\nassert 'pytorch_lightning' not in sys.modules\n"
        "module, data, arguments = script.build('train.py')\nprint(type(module).__name__, data, sorted(arguments))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "LightningModule None ['callbacks', 'guards']", done.stderr


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


def test_a_length_counts_steps_and_an_epoch_that_is_short_is_repeated() -> None:
    assert length.of(16, None) == Length(2, 8)
    assert length.of(32, 1000) == Length(2, 16)
    assert length.of(32, 5) == Length(7, 5)
    assert length.of(32, 1) == Length(32, 1)
    for available in (None, 1, 2, 3, 7, 16, 500):
        assert min(long.steps for long in length.longer(available, each=1.0)) >= 16, "never a few steps"


def test_what_a_step_costs_is_what_more_steps_add_and_not_the_set_up() -> None:
    assert length.marginal((16, 5.0), (32, 5.4)) == pytest.approx(0.025)
    assert [long.steps for long in length.longer(None, 0.025)] == [32, 64, 128]
    assert [long.steps for long in length.longer(None, 0.2)] == [32]
    assert [long.steps for long in length.longer(None, 2.0)] == [16]


def test_a_loss_is_learnt_where_it_falls_by_more_than_it_varies() -> None:
    wobble = [0.1 * (-1) ** n for n in range(32)]
    assert length.learns([2.0 - 0.03 * n + wobble[n] for n in range(32)])
    assert not length.learns([2.0 - 0.001 * n + wobble[n] for n in range(32)])
    assert not length.learns([0.7] * 32)
    assert not length.learns([1.0, 0.5, 0.2])
    assert not length.learns([float("nan")] * 32)


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


@pytest.mark.parametrize("data", [(), None])
def test_a_module_that_brings_its_loaders_is_built_without_data(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning import LightningModule

    monkeypatch.setattr(sys.modules[__name__], "made", lambda: (LightningModule(), data), raising=False)
    built = Target({"build": {"class_path": f"{__name__}.made"}}).build("unused")
    assert built.fit == {}


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


def test_time_that_a_process_or_its_children_wait_for_a_processor_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, waits, children = [0.0], {1: 5.0}, {1: set()}
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processes, "_waited", lambda pid: waits[pid])
    monkeypatch.setattr(processes, "children_of", lambda pid: children[pid])
    own = processes.OwnTime(1)
    clock[0], waits[1] = 10.0, 8.0
    assert own.spent() == 7.0
    children[1] = {2, 3}
    clock[0], waits[2], waits[3] = 20.0, 4.0, 6.0
    assert own.spent() == 11.0, "children wait side by side"
    children[1] = set()
    clock[0] = 21.0
    assert own.spent() == 12.0, "one that ended is not waited for twice"


def test_a_loss_that_has_just_begun_to_fall_is_not_enough_unless_steps_are_dear() -> None:
    noise = [0.05 if step % 2 else -0.05 for step in range(32)]
    slightly = [1.1 - 0.004 * step + noise[step] for step in range(32)]
    clearly = [1.1 * 0.95**step + noise[step] / 2 for step in range(32)]
    flat = [1.1 + noise[step] for step in range(32)]
    assert length.learns(slightly)
    assert not length.is_enough(slightly, each=0.001), "some seeds end no better than an untrained model"
    assert length.is_enough(slightly, each=0.1), "nobody waits for twice as many of these steps"
    assert length.is_enough(clearly, each=0.001)
    assert not length.is_enough(flat, each=0.1)


def test_a_script_keeps_its_own_length_if_that_is_short() -> None:
    assert length.own(6, 16) == Length(6, 16)
    assert length.own(6, None) is None, "the length of an epoch is unknown"
    assert length.own(100, 16) is None
    assert length.own(1, 64) is None, "what happens between epochs would not be tried"
    assert length.own(None, 16) is None
    assert [one.steps for one in length.longer(16, 0.001, Length(6, 16))] == [96]
    assert next(length.longer(16, 0.5, Length(6, 16))).steps == 16, "steps of half a second"

"""A training script as a target: run as Python runs it, as far as the training that it starts."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlab.errors import TargetError
from faultlab.frameworks.lightning.main_script import MainScript
from faultlab.frameworks.lightning.target import Target
from faultlab.targets import script


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


@pytest.mark.parametrize("data", [(), None])
def test_a_module_that_brings_its_loaders_is_built_without_data(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning import LightningModule

    monkeypatch.setattr(sys.modules[__name__], "made", lambda: (LightningModule(), data), raising=False)
    built = Target({"build": {"class_path": f"{__name__}.made"}}).build("unused")
    assert built.fit == {}

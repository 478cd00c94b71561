"""No command changes a file of the user's: neither what a true training has left, nor anything else in the project."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm

PACKAGES = ("pytorch_lightning", "lightning.pytorch")

MODEL = '''
"""A small module of pytorch_lightning's, its data, and callbacks that write by themselves."""

import os
import shutil

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Data(pl.LightningDataModule):
    def setup(self, stage):
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        self.parts = TensorDataset(x, x.sum(1, keepdim=True))

    def train_dataloader(self):
        return DataLoader(self.parts, batch_size=8)

    def val_dataloader(self):
        return DataLoader(self.parts, batch_size=8)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.learning_rate = 0.05

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch[0]) - batch[1]).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", (self.net(batch[0]) - batch[1]).pow(2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


def finetuning(package):
    """The package's finetuning callback, over a backbone that a module may lack."""
    import importlib

    base = importlib.import_module(f"{package}.callbacks").BaseFinetuning

    class Frozen(base):
        def freeze_before_training(self, pl_module):
            self.freeze(pl_module.net[0])

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.net[0], optimizer)

    return Frozen()


class Tidy(pl.Callback):
    """Keeps its own best weights, by every call that the standard library has for it."""

    def on_train_start(self, trainer, pl_module):
        shutil.rmtree("exports", ignore_errors=True)
        os.makedirs("exports")

    def on_validation_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), "exports/weights.part")
        os.replace("exports/weights.part", "exports/weights.pt")
        if os.path.lexists("exports/latest"):
            os.remove("exports/latest")
        os.symlink("weights.pt", "exports/latest")
        with open("history.csv", "a") as history:
            history.write(f"{trainer.current_epoch},{trainer.callback_metrics['val_loss']}\\n")

    def on_fit_end(self, trainer, pl_module):
        if os.path.isdir("older"):
            for name in os.listdir("older"):
                os.unlink(os.path.join("older", name))
            os.rmdir("older")
'''

TRAINING = """
import sys

import pytorch_lightning as pl
import lightning.pytorch
from model import Data, Net, Tidy

keeper = {package}.callbacks.ModelCheckpoint(
    dirpath="checkpoints", monitor="val_loss", filename="best-{{epoch}}", save_top_k=2, save_last="link",
    enable_version_counter=False,
)
logger = pl.loggers.CSVLogger("logs", name="mine")
logger.log_hyperparams({{"learning_rate": 0.05}})
logger.save()
trainer = pl.Trainer(max_epochs=3, accelerator="cpu", logger=logger, callbacks=[keeper], enable_progress_bar=False)
trainer.fit(Net(), Data())
"""

TEST = """
import pytorch_lightning as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from model import Data, Net, Tidy


def test_it_learns():
    keeper = ModelCheckpoint(
        dirpath="checkpoints", monitor="val_loss", filename="best", save_last="link", enable_version_counter=False
    )
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[keeper, Tidy()]
    )
    trainer.fit(Net(), Data())
    assert trainer.callback_metrics["val_loss"] < 5
"""

# What each stock callback is made of where it needs anything, and what the Trainer must do without beside it.
GIVEN: dict[str, dict[str, Any] | None] = {
    "BackboneFinetuning": None,  # a BaseFinetuning that wants a module with a ``backbone``
    "BaseFinetuning": None,  # abstract: `finetuning` in the model's file
    "BasePredictionWriter": None,  # abstract, and writes only what its subclass writes
    "Callback": {},
    "EarlyStopping": {"monitor": "val_loss"},
    "GradientAccumulationScheduler": {"scheduling": {0: 1, 1: 2}},
    "LearningRateFinder": {"num_training_steps": 8},
    "BatchSizeFinder": None,  # wants a module or data with a ``batch_size``
    "ModelCheckpoint": {
        "dirpath": "checkpoints",
        "monitor": "val_loss",
        "filename": "best-{epoch}",
        "save_top_k": 1,
        "save_last": "link",
        "enable_version_counter": False,
    },
    "ModelPruning": {"pruning_fn": "l1_unstructured", "amount": 0.1},
    "OnExceptionCheckpoint": {"dirpath": "checkpoints"},
    "ProgressBar": None,  # abstract
    "StochasticWeightAveraging": {"swa_lrs": 0.01},
    "ThroughputMonitor": None,  # wants a function of the batch, and writes to loggers alone
}
# That exchange the weights, or train by themselves before the training: one of them at a time.
APART = ("StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging", "ModelPruning", "LearningRateFinder")


def stock(package: str) -> list[str]:
    """The callbacks that a package of Lightning's brings and that a plain module can be trained with."""
    names: list[str] = importlib.import_module(f"{package}.callbacks").__all__
    return [name for name in names if GIVEN.get(name, {}) is not None]


def groups(package: str) -> list[list[str]]:
    """The stock callbacks in groups that can be trained with together."""
    together = [name for name in stock(package) if name not in APART]
    return [together, *([name, "ModelCheckpoint"] for name in stock(package) if name in APART)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which trainings have left their files."""
    project = tmp_path_factory.mktemp("trained")
    (project / "model.py").write_text(MODEL)
    (project / "test_model.py").write_text(TEST)
    (project / "exports").mkdir()
    (project / "exports" / "weights.pt").write_bytes(b"the user's weights")
    (project / "history.csv").write_text("0,1.5\n")
    for name in ("epoch=0-step=8.ckpt", "on_exception.ckpt", "older/best-epoch=9.ckpt"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes(b"an older training's")
    (project / "train.py").write_text(TRAINING.format(package="lightning.pytorch"))
    warm.run(["train.py"], cwd=project, env=_environment()).check_returncode()
    assert {"best-epoch=2.ckpt", "last.ckpt"} <= {file.name for file in (project / "checkpoints").iterdir()}
    assert list((project / "logs").rglob("metrics.csv"))
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    # With links and times as they are.
    os.system(f"cp -a {trained} {folder}")
    return folder


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "FAULTLAB_WARM": "0"}


def state(folder: Path) -> dict[str, Any]:
    """Every path with what it holds and when it was written, but for what faultlab is there to write."""
    found: dict[str, Any] = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            status = path.lstat()
            held = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            # A folder's own time changes whenever something is made in it and removed again.
            found[str(path.relative_to(folder))] = (held, status.st_mode, status.st_mtime_ns if path.is_file() else 0)
    ours = ("reports", ".pytest_cache", "scenario.yaml", "new.yaml")
    return {path: held for path, held in found.items() if path.partition(os.sep)[0] not in ours}


def scenario(project: Path, guards: list[dict[str, Any]], **more: Any) -> Path:
    content = {
        "schema": 1,
        "name": "net",
        "module": {"class_path": "model.Net"},
        "data": {"class_path": "model.Data"},
        "trainer": {
            "max_epochs": 2,
            "log_every_n_steps": 4,
            "logger": {
                "class_path": f"{PACKAGES[0]}.loggers.CSVLogger",
                "init_args": {"save_dir": "logs", "name": "mine"},
            },
            "profiler": {
                "class_path": f"{PACKAGES[0]}.profilers.SimpleProfiler",
                "init_args": {"dirpath": "logs", "filename": "profile"},
            },
        },
        "guards": guards,
        "monitor": {"metric": "val_loss", "mode": "min"},
        **more,
    }
    file = project / "scenario.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def writers() -> list[dict[str, Any]]:
    """The callbacks that write most: both packages' ModelCheckpoint, and one of the user's own."""
    # By what they monitor a Trainer tells two of them apart.
    monitored = dict(zip(PACKAGES, ("val_loss", "train_loss"), strict=True))
    keepers = [
        {
            "class_path": f"{package}.callbacks.ModelCheckpoint",
            "init_args": {**(GIVEN["ModelCheckpoint"] or {}), "monitor": monitored[package]},
            "name": package,
        }
        for package in PACKAGES
    ]
    return [*keepers, {"class_path": "model.Tidy"}]


def ran(project: Path, *arguments: str, module: str = "faultlab", codes: tuple[int, ...] = (0,)) -> str:
    """Runs a command in the project; what it prints."""
    done = warm.run(["-m", module, *arguments], cwd=project, env=_environment())
    assert done.returncode in codes, done.stdout + done.stderr
    return str(done.stdout)


MORE = pytest.mark.nightly(reason="more that trains; the quick ring has a run, which they are made of, and a script's")
QUICK = ("run", "init", "doctor of a script")
FEW = ["--select", "return.none", "--select", "checkpoint.truncated", "--select", "checkpoint.wrong-best"]

COMMANDS = {
    "run": ["run", "scenario.yaml", *FEW],
    "run in fresh processes": ["run", "scenario.yaml", "--engine", "spawn", "--select", "return.none@always"],
    "replay": ["replay", "return.none@always", "--scenario", "scenario.yaml"],
    "replay of one that is judged by its checkpoints": [
        *("replay", "checkpoint.wrong-best@always", "--scenario", "scenario.yaml"),
    ],
    "doctor": ["doctor", "scenario.yaml"],
    "doctor of a script": ["doctor", "train.py"],
    "init": ["init", "train.py", "--out", "new.yaml"],
    "prescribe": ["prescribe", "scenario.yaml", "--select", "return.none"],
    "sweep": ["sweep", "label.noisy", "--scenario", "scenario.yaml"],
    "mutate": ["mutate", "scenario.yaml", "--function", "Net.training_step"],
}


@pytest.mark.parametrize(
    "command",
    [pytest.param(one, id=name, marks=() if name in QUICK else MORE) for name, one in COMMANDS.items()],
)
def test_a_command_leaves_every_file_of_the_users_as_it_was(command: list[str], project: Path) -> None:
    scenario(project, writers())
    before = state(project)
    ran(project, *command)
    assert state(project) == before


@MORE
def test_faults_under_pytest_leave_every_file_of_the_users_as_it_was(project: Path) -> None:
    # What the suite itself writes, it writes once more: the clean pass is pytest's own.
    ran(project, "-q", "-p", "no:cacheprovider", module="pytest")
    before = state(project)
    options = ["-q", "-p", "no:cacheprovider", "--faultlab", "--faultlab-select", "return.none"]
    assert "1 only warned" in ran(project, *options, module="pytest", codes=(0, 1))
    after = state(project)
    # The clean pass is the suite as it always is: it trains once more, to the same files.
    assert set(after) == set(before)
    assert len(after["history.csv"][0].splitlines()) == len(before["history.csv"][0].splitlines()) + 3, (
        "the sanity check and two epochs"
    )


@MORE
@pytest.mark.parametrize("package", PACKAGES)
def test_no_stock_callback_gets_at_the_users_files(package: str, project: Path) -> None:
    for group in groups(package)[:1]:
        _check_group(package, group, project)


@pytest.mark.nightly(reason="every stock callback that trains by itself or exchanges the weights, a campaign each")
@pytest.mark.parametrize("package", PACKAGES)
def test_no_stock_callback_that_goes_apart_gets_at_the_users_files(package: str, project: Path) -> None:
    for group in groups(package)[1:]:
        _check_group(package, group, project)


@pytest.mark.nightly(reason="every command with every stock callback; the quick ring has them apart")
@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_gets_at_the_users_files_by_any_stock_callback(
    command: list[str], package: str, project: Path
) -> None:
    scenario(project, guards_of(package, groups(package)[0]))
    before = state(project)
    ran(project, *command, codes=(0, 1, 3))
    assert state(project) == before


def guards_of(package: str, names: list[str]) -> list[dict[str, Any]]:
    guards = [
        {"class_path": f"{package}.callbacks.{name}", **({"init_args": GIVEN[name]} if GIVEN.get(name) else {})}
        for name in names
    ]
    return [*guards, {"class_path": "model.finetuning", "init_args": {"package": package}}]


def _check_group(package: str, group: list[str], project: Path) -> None:
    scenario(project, guards_of(package, group))
    before = state(project)
    ran(project, "run", "scenario.yaml", *FEW, "--no-advice", codes=(0, 3))
    assert state(project) == before, group


def test_the_catalogue_of_stock_callbacks_is_whole() -> None:
    for package in PACKAGES:
        missing = set(GIVEN) - set(importlib.import_module(f"{package}.callbacks").__all__)
        assert not missing


@MORE
def test_a_checkpoint_callback_of_the_other_package_is_judged_as_the_users_own(project: Path) -> None:
    statuses = {}
    for package in PACKAGES:
        keeper = {"class_path": f"{package}.callbacks.ModelCheckpoint", "init_args": GIVEN["ModelCheckpoint"]}
        scenario(project, [keeper], name=package.replace(".", "-"))
        ran(project, "run", "scenario.yaml", *FEW, "--no-advice")
        report = json.loads((project / "reports" / package.replace(".", "-") / "selected" / "report.json").read_text())
        assert not report["baseline"]["false_alarms"], "that the folder holds files is no alarm"
        statuses[package] = {fault["id"]: (fault["status"], fault["activations"]) for fault in report["faults"]}
    first, second = statuses.values()
    assert first == second
    assert first["checkpoint.wrong-best@always"][0] == "silent"

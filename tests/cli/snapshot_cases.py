"""The projects that the snapshots' commands are called in, and the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from faultlab.core.demands import Demands
from tests.support import detection, report, result, run_folder

MODEL = """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(_set(0), batch_size=8)

    def val_dataloader(self):
        return DataLoader(_set(1), batch_size=8)


def _set(seed):
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x.sum(1, keepdim=True))


class Lit(pl.LightningModule):
    def __init__(self, width: int = 8):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch[0]) - batch[1]).pow(2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", (self.net(batch[0]) - batch[1]).pow(2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Fails(Lit):
    def training_step(self, batch, batch_idx):
        raise ValueError("the clean run fails")


class NotAModule:
    pass
"""

MANY = """\
schema: 2
name: a/b
build: {class_path: model.build}
data: {class_path: Data}
modul: {class_path: model.Lit}
zzzzz: 1
framework: keras
trainer: {max_epochs: 1, max_epochs: 2}
tests: tests/test_model.py
monitor: {metric: 5, mode: least}
gate: {coverage: high, false_alarms: -1, silent: {awful: 0}, mutants: 2}
guards: [{}, {class_path: a.B, trainer_flag: {}}, EarlyStopping]
batch: {inputs: 0}
faults:
  select: [return.nane, "zz.*", "label.noisy:x=1"]
  when: {return.none: ["@sometimes"], loss.nan: []}
  ignore: [{mode: loss.nan, reason: "", expires: soon}, {mode: loss.nan}]
"""


def _project(folder: Path) -> Path:
    (folder / "scenarios").mkdir()
    (folder / "pyproject.toml").touch()
    (folder / "model.py").write_text(MODEL)
    return folder / "scenarios"


def _scenario(folder: Path, name: str, module: str = "model.Lit", **more: str) -> None:
    lines = [
        "schema: 1",
        f"name: {name}",
        f"module: {{class_path: {module}}}",
        *(f"{key}: {value}" for key, value in {"data": "{class_path: model.Data}", **more}.items()),
    ]
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def usage(folder: Path) -> list[list[str]]:
    """Commands that are called wrongly."""
    _project(folder)
    return [
        ["lits"],
        ["qqq"],
        ["run", "--nonsense"],
        ["run", "--jobs", "0"],
        ["run", "--fail-under", "nan"],
        ["run", "--engine", "warp"],
        ["run", "--shard", "3/2"],
        ["run", "--select", "return.nane"],
        ["run", "--select", "return.none@sometimes"],
        ["run", "--select", "label.noisy:x=1"],
        ["run", "nowhere.yaml"],
        ["run", "model.py"],
        ["run", "--json", "nowhere.yaml"],
        ["run", "--out", "model.py/reports"],
        ["replay", "loss.nan"],
        ["run"],
        ["run", "--baseline", "nowhere.json"],
        ["run", "--baseline", "nowhere.json", "--select", "loss.nan"],
        ["explain", "return.nane"],
        ["explain"],
        ["list", "retrun.*"],
        ["list", "--family", "retrun"],
        ["list", "--severity", "grave"],
        ["replay", "loss.nan", "--scenario", "nowhere.yaml"],
        ["replay", "loss.nan", "--debug", "--json", "--scenario", "nowhere.yaml"],
        ["sweep", "label.nosy", "--scenario", "nowhere.yaml"],
        ["gate", "--accept"],
        ["gate", "--silent", "bad"],
        ["gate", "--reason", "why"],
        ["gate"],
        ["gate", "nowhere"],
        ["diff", "nowhere", "nowhere"],
        ["merge", "nowhere"],
        ["report", "scenarios"],
        ["mutate", "nowhere.py"],
        ["dev", "new", "Return.none"],
        ["completion", "tcsh"],
    ]


def scenario_errors(folder: Path) -> list[list[str]]:
    """Scenario files in which everything is wrong that is found before anything runs."""
    scenarios = _project(folder)
    (scenarios / "many.yaml").write_text(MANY)
    _scenario(scenarios, "missing", module="model.Lot", tests="[gone.py]")
    _scenario(scenarios, "arguments", module="model.Lit, init_args: {wdith: 1}", trainer="{max_epoch: 2, devices: 2}")
    _scenario(scenarios, "guards", guards="[{class_path: model.NotAModule}, {class_path: modle.Guard}]")
    _scenario(scenarios, "expired", faults="{ignore: [{mode: loss.nan, reason: by design, expires: 2020-01-01}]}")
    _scenario(scenarios, "syntax", trainer="{max_epochs: [}")
    _scenario(scenarios, "alias", trainer="&again {x: *again}")
    (scenarios / "empty.yaml").touch()
    (scenarios / "latin.yaml").write_bytes(b"schema: 1\nname: caf\xe9\n")
    (folder / "good").mkdir()
    _scenario(folder / "good", "good")
    return [["check"], ["check", "good"], ["run"]]


def run(folder: Path) -> list[list[str]]:
    """One run of several scenarios: one that trains, and the others that can't."""
    scenarios = _project(folder)
    short = {"trainer": "{max_epochs: 2, accelerator: cpu}"}
    guards = "[{class_path: pytorch_lightning.callbacks.EarlyStopping, init_args: {monitor: val_loss}}]"
    _scenario(scenarios, "good", guards=guards, gate="{coverage: 0.9}", monitor="{metric: val_loss}", **short)
    _scenario(scenarios, "fails", module="model.Fails", **short)
    _scenario(scenarios, "module", module="model.NotAModule", **short)
    select = [
        f"--select={fault}"
        for fault in ("loss.nan@step=8", "return.none", "label.shuffled@step=1", "step.raises@step=1")
    ]
    return [["run", *select, "--no-advice", "--jobs", "1"]]


def gate(folder: Path) -> list[list[str]]:
    """Reports judged, accepted and compared."""
    detected = [result("loss.nan@always", "detected", detected_by=[detection(name="Finite")])]
    silent = [result("label.shuffled@step=1", "silent", severity="critical")]
    _study(folder / "before", detected + silent)
    _study(folder / "after", [result("loss.nan@always", "silent", severity="critical"), *silent])
    expiry = ["--reason", "no guard yet", "--expires", "2999-01-01"]
    return [
        ["gate", "before"],
        ["gate", "before", "--fail-under", "0.9", "--silent", "critical=0"],
        ["gate", "before", "--json", "--fail-under", "0.9"],
        ["gate", "before", "--baseline", "accepted.json"],
        ["gate", "before", "--baseline", "accepted.json", "--accept"],
        ["gate", "before", "--baseline", "accepted.json", "--accept", *expiry],
        ["gate", "before", "--baseline", "accepted.json", "--accept", *expiry],
        ["gate", "before", "--baseline", "accepted.json"],
        ["gate", "after", "--baseline", "accepted.json"],
        ["gate", "after", "--baseline", "accepted.json", "--accept", *expiry],
        ["diff", "before", "after"],
        ["diff", "before", "before"],
        ["diff", "after", "before", "--json"],
        ["report", "before"],
        ["merge", "before"],
    ]


def _study(out: Path, faults: list[object]) -> None:
    run_folder(out, report(*faults, demands=Demands(coverage=0.5)))  # type: ignore[arg-type]


def refused(folder: Path) -> list[list[str]]:
    """Reports that can't be trusted or read."""
    _study(folder / "edited", [result("loss.nan@always", "silent")])
    file = folder / "edited" / "made-up" / "report.json"
    file.write_text(file.read_text().replace('"silent"', '"detected"', 1))
    (folder / "empty").mkdir()
    (folder / "other.json").write_text("{}")
    (folder / "broken.json").write_text("{")
    return [["gate", "edited"], ["gate", "empty"], ["gate", "other.json"], ["gate", "broken.json"],
            ["run", "--baseline", "broken.json"], ["run", "--baseline", "other.json"]]  # fmt: skip


def lists(folder: Path) -> list[list[str]]:
    """Failure modes listed and explained."""
    return [["list", "return.*"], ["list", "step.raises", "--json"], ["explain", "return.none"]]


CASES: Mapping[str, Callable[[Path], list[list[str]]]] = {
    "errors-usage": usage,
    "errors-scenario": scenario_errors,
    "errors-report": refused,
    "run": run,
    "gate": gate,
    "list": lists,
}

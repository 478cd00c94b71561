"""The doctor on modules with one thing wrong each: every cause is diagnosed by its name, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from faultlab.cli import group
from faultlab.core.user_code import UserCode
from faultlab.doctor.course import Course
from faultlab.doctor.environment import ENVIRONMENT
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import ATTENTION, OK, WRONG, Finding
from faultlab.doctor.sources import class_facts, meant
from faultlab.doctor.step_executed import LEARNING
from faultlab.doctor.step_not_executed import CAUSES
from faultlab.doctor.swallowing import Swallowing
from faultlab.doctor.told import TOLD
from faultlab.engines import Engine, create
from faultlab.errors import UsageError
from tests import warm

ROOT = Path(__file__).parents[2]

_HEAD = """
import time, os
import torch
import pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

def points(n=16):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))

class Healthy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def step(self, batch):
        x, y = batch
        return nn.functional.mse_loss(self.layer(x), y)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def train_dataloader(self):
        return DataLoader(points(), batch_size=4)

class Trained(Healthy):
    def training_step(self, batch, batch_idx):
        return self.step(batch)

"""


@dataclass(frozen=True)
class Ill:
    """A module's source, what its Trainer is told, and what the doctor has to say."""

    name: str
    source: str
    check: str
    said: str
    trainer: str = "max_epochs: 1"
    verdict: str = WRONG


def _lit(body: str, base: str = "Trained") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return f"class Lit({base}):\n{lines}\n"


ILL = [
    Ill("misspelt", _lit("def train_step(self, batch, batch_idx):\n    return self.step(batch)", "Healthy"),
        "misspelled", "is named train_step"),
    Ill("nested", _lit("def forward(self, x):\n    def training_step(self, batch, i):\n        return 0\n    return x",
                       "Healthy"), "wrongly indented", "nested in forward"),
    Ill("outside", "class Lit(Healthy):\n    pass\n\ndef training_step(self, batch, batch_idx):\n    return 0\n",
        "wrongly indented", "outside the class"),
    Ill("missing", _lit("pass", "Healthy"), "missing", "the module has no training_step"),
    Ill("parents", _lit("def trainig_step(self, batch, batch_idx):\n    return self.step(batch)"),
        "another method runs", "Trained's runs instead"),
    Ill("twice", _lit("def training_step(self, batch, batch_idx):\n    return self.step(batch)\n"
                      "def training_step(self, batch, batch_idx):\n    return 2 * self.step(batch)"),
        "another method runs", "defined 2 times"),
    Ill("attribute", _lit("def __init__(self):\n    super().__init__()\n"
                          "    self.training_step = lambda batch, batch_idx: self.step(batch)"),
        "replaced", "has an attribute of that name"),
    Ill("generator", _lit("def training_step(self, batch, batch_idx):\n    yield self.step(batch)", "Healthy"),
        "method body", "it is a generator"),
    Ill("coroutine", _lit("async def training_step(self, batch, batch_idx):\n    return self.step(batch)", "Healthy"),
        "method body", "it is a coroutine"),
    Ill("limited", _lit("pass"), "no batches requested", "limit_train_batches=0",
        "max_epochs: 1, limit_train_batches: 0"),
    Ill("epochless", _lit("pass"), "no batches requested", "max_epochs=0", "max_epochs: 0"),
    Ill("stepless", _lit("pass"), "no batches requested", "max_steps=0", "max_epochs: 1, max_steps: 0"),
    Ill("timeless", _lit("pass"), "no batches requested", "the time is up", 'max_epochs: 1, max_time: "00:00:00:00"'),
    Ill("empty", _lit("def train_dataloader(self):\n    return DataLoader([], batch_size=4)"),
        "no batches in the loader", "dataset is empty"),
    Ill("dropped", _lit("def train_dataloader(self):\n    return DataLoader(points(3), batch_size=4, drop_last=True)"),
        "no batches in the loader", "3 samples do not fill a batch of 4"),
    Ill("undrawn", _lit("def train_dataloader(self):\n    return DataLoader(points(), sampler=[])"),
        "no batches in the loader", "the sampler draws nothing"),
    Ill("dry", "class Dry(IterableDataset):\n    def __iter__(self):\n        return iter(())\n"
        + _lit("def train_dataloader(self):\n    return DataLoader(Dry())"), "no batches in the loader",
        "yields no batch"),
    Ill("nones", _lit("def train_dataloader(self):\n    return DataLoader(points(), collate_fn=lambda items: None)"),
        "batches of None", "yields None for a batch"),
    Ill("loaderless", _lit("def train_dataloader(self):\n    return None"), "no training loader", "no training loader"),
    Ill("loader-misspelt", "class Lit(pl.LightningModule):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(3, 1)\n    def training_step(self, batch, batch_idx):\n        return 0\n"
        "    def configure_optimizers(self):\n        return torch.optim.SGD(self.parameters(), 0.1)\n"
        "    def training_dataloader(self):\n        return DataLoader(points())\n",
        "no training loader", "is named training_dataloader"),
    Ill("minus-one", _lit("def on_train_batch_start(self, batch, batch_idx):\n    return -1"),
        "skipped by a hook", "on_train_batch_start returns -1"),
    Ill("stop-iteration", _lit("def on_train_epoch_start(self):\n    raise StopIteration"),
        "skipped by a hook", "on_train_epoch_start raises StopIteration"),
    Ill("stops", _lit("def on_fit_start(self):\n    self.trainer.should_stop = True"),
        "asked to stop", "on_fit_start sets trainer.should_stop"),
    Ill("callback-stops", "class Stopper(pl.Callback):\n    def setup(self, trainer, module, stage):\n"
        "        trainer.should_stop = True\n" + _lit("def configure_callbacks(self):\n    return [Stopper()]"),
        "asked to stop", "sets trainer.should_stop"),
    Ill("no-closure", _lit("def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):\n"
                           "    optimizer.step(closure=lambda: None)"), "the closure is not called",
        "optimizer_step drops"),
    Ill("deaf-optimizer",
        "class Deaf(torch.optim.SGD):\n    def step(self, closure=None):\n        return super().step()\n"
        + _lit("def configure_optimizers(self):\n    return Deaf(self.parameters(), lr=0.1)"),
        "the closure is not called", "Deaf.step never calls its closure"),
    Ill("setup-raises", _lit("def setup(self, stage):\n    raise OSError('no such disk')"),
        "exception before the first step", "after setup"),
    Ill("sanity", _lit("def val_dataloader(self):\n    return DataLoader(points())\n"
                       "def validation_step(self, batch, batch_idx):\n    raise ValueError('bad label')"),
        "exception before the first step", "in the sanity check"),
    Ill("mixed", "import lightning.pytorch as other\n" + _lit("pass"), "two Lightning packages",
        "is a pytorch_lightning module and the Trainer is from lightning.pytorch",
        "class_path: lightning.pytorch.Trainer, init_args: {max_epochs: 1}"),
    Ill("returns-none", _lit("def training_step(self, batch, batch_idx):\n    self.step(batch)", "Healthy"),
        "returned loss", "returns None in 4 of 4 steps"),
    Ill("swallows", _lit("def training_step(self, batch, batch_idx):\n    try:\n        return self.stepp(batch)\n"
                         "    except Exception:\n        pass", "Healthy"),
        "swallowed exceptions", "AttributeError is raised in line 31 and swallowed in line 32 by `except Exception`"),
    Ill("swallows-by-suppress", "import contextlib\n" + _lit(
        "def training_step(self, batch, batch_idx):\n    with contextlib.suppress(RuntimeError):\n"
        "        return nn.functional.mse_loss(self.layer(batch[0][:, :2]), batch[1])", "Healthy"),
        "swallowed exceptions", "by `with contextlib.suppress(RuntimeError)`"),
    Ill("swallows-in-finally", _lit(
        "def training_step(self, batch, batch_idx):\n    loss = None\n    try:\n        loss = self.step(batch[:1])\n"
        "    finally:\n        return loss", "Healthy"),
        "swallowed exceptions", "ValueError is raised in line"),
    Ill("swallows-in-a-helper", _lit(
        "def guarded(self, batch):\n    try:\n        return self.layer(batch[0].double())\n    except RuntimeError "
        "as error:\n"
        "        print(error)\n        return torch.zeros(4, 1)\n"
        "def training_step(self, batch, batch_idx):\n    return nn.functional.mse_loss(self.guarded(batch), batch[1])",
        "Healthy"), "swallowed exceptions", "the batch is float64"),
    Ill("swallows-by-a-context", "class Safe:\n    def __enter__(self):\n        return self\n"
        "    def __exit__(self, *error):\n        return True\n\n" + _lit(
        "def training_step(self, batch, batch_idx):\n    with Safe():\n        return self.stepp(batch)", "Healthy"),
        "swallowed exceptions", "by `with Safe()`"),
    Ill("swallows-in-a-thread", "import threading\n" + _lit(
        "def training_step(self, batch, batch_idx):\n    out = [None]\n    def work():\n"
        "        out[0] = self.stepp(batch)\n    thread = threading.Thread(target=work)\n    thread.start()\n"
        "    thread.join()\n    return out[0]", "Healthy"), "swallowed exceptions", "the end of its thread, 4 times"),
    Ill("swallows-to-a-constant", "def never_fails(step):\n    def inner(*given):\n        try:\n"
        "            return step(*given)\n        except Exception:\n"
        "            return torch.zeros((), requires_grad=True)\n    return inner\n\n" + _lit(
        "@never_fails\ndef training_step(self, batch, batch_idx):\n    return self.stepp(batch)", "Healthy"),
        "parameter updates", "because AttributeError is swallowed in line"),
    Ill("swallows-around-fit", "class Calm(pl.Trainer):\n    def fit(self, *given, **more):\n        try:\n"
        "            super().fit(*given, **more)\n        except Exception:\n            pass\n\n" + _lit(
        "def training_step(self, batch, batch_idx):\n    return self.stepp(batch)", "Healthy"),
        "end of the run", "Lit has no attribute stepp",
        "class_path: ill_swallows_around_fit.Calm, init_args: {max_epochs: 1}"),
    Ill("swallows-in-a-sampler", "class Half:\n    def __len__(self):\n        return 16\n    def __iter__(self):\n"
        "        order = list(range(8))\n        try:\n            for i in range(16):\n"
        "                yield order[i]\n        except IndexError:\n            return\n\n" + _lit(
        "def train_dataloader(self):\n    return DataLoader(points(), batch_size=4, sampler=Half())"),
        "batches per epoch", "epoch 0 gets 2 of 4 batches"),
    Ill("interrupts-itself", _lit("def training_step(self, batch, batch_idx):\n    raise KeyboardInterrupt", "Healthy"),
        "end of the run", "the exception is KeyboardInterrupt"),
    Ill("keys-for-parts", "class Named(torch.utils.data.Dataset):\n    def __len__(self):\n        return 8\n"
        "    def __getitem__(self, i):\n        return {'x': torch.ones(3), 'y': torch.ones(1)}\n\n" + _lit(
        "def train_dataloader(self):\n    return DataLoader(Named(), batch_size=4)"),
        "end of the run", "the loader yields a dict with the keys x, y"),
    Ill("gradients-lost", _lit("def on_after_backward(self):\n    self.zero_grad()"),
        "parameter updates", "although a graph leads from the loss to them: their gradients are zero, or lost"),
    Ill("steps-under-a-condition", _lit("def optimizer_step(self, epoch, batch_idx, optimizer, closure=None):\n"
        "    if epoch < 0:\n        optimizer.step(closure=closure)"),
        "the closure is not called", "your optimizer_step never reaches optimizer.step"),
    Ill("labelless", _lit("def train_dataloader(self):\n    return DataLoader(points().tensors[0], batch_size=4)"),
        "end of the run", "the loader yields a tensor of shape (4, 3); line 17 unpacks two parts"),
    Ill("double-precision", _lit("def training_step(self, batch, batch_idx):\n"
        "    return self.layer(batch[0].double()).mean()", "Healthy"), "end of the run", "and not the batch"),
    Ill("step-without-batch", _lit("def training_step(self):\n    return self.layer.weight.sum()", "Healthy"),
        "end of the run", "training_step gets"),
    Ill("rows-for-parts", _lit("def training_step(self, batch, batch_idx):\n    x, y = batch\n"
        "    return nn.functional.mse_loss(self.layer(x), y.sum().view(1))\n"
        "def train_dataloader(self):\n    return DataLoader(points().tensors[0], batch_size=2)", "Healthy"),
        "batch unpacking", "the dataset has no labels; its rows are unpacked instead"),
    Ill("by-hand-without-step", _lit("def __init__(self):\n    super().__init__()\n"
        "    self.automatic_optimization = False"), "parameter updates", "calls neither backward nor step"),
    Ill("without-graph", _lit("def training_step(self, batch, batch_idx):\n    with torch.no_grad():\n"
        "        loss = self.step(batch)\n    return loss.requires_grad_()", "Healthy"),
        "parameter updates", "no graph leads from it to the weights (with torch.no_grad() in line"),
    Ill("steps-by-itself", _lit("def __init__(self):\n    super().__init__()\n    self.manual_optimization = True\n"
        "def training_step(self, batch, batch_idx):\n    opt = self.optimizers()\n    opt.zero_grad()\n"
        "    self.step(batch).backward()\n    opt.step()", "Healthy"),
        "optimizer steps", "the attribute that is set is called manual_optimization"),
    Ill("detached", _lit("def training_step(self, batch, batch_idx):\n    return self.step(batch).detach()", "Healthy"),
        "returned loss", "the loss has no gradient"),
    Ill("frozen", _lit("def __init__(self):\n    super().__init__()\n"
        "    self.head = nn.Linear(1, 1).requires_grad_(False)"),
        "parameter updates", "because requires_grad is False", verdict=ATTENTION),
    Ill("left-out", _lit("def configure_optimizers(self):\n    return torch.optim.SGD([self.layer.bias], lr=0.1)"),
        "parameter updates", "because no optimizer has them"),
    Ill("no-optimizer", _lit("def configure_optimizers(self):\n    return None"),
        "parameter updates", "returns no optimizer"),
    Ill("no-rate", _lit("def configure_optimizers(self):\n    return torch.optim.SGD(self.parameters(), lr=0.0)"),
        "parameter updates", "the learning rate is 0"),
    Ill("nan", _lit("def training_step(self, batch, batch_idx):\n    return self.step(batch) * float('nan')",
        "Healthy"),
        "loss values", "not finite in 4 of 4 steps"),
    Ill("raises", _lit("def training_step(self, batch, batch_idx):\n    assert batch_idx < 2, 'enough'\n"
                       "    return self.step(batch)", "Healthy"), "end of the run", "after 2 steps"),
    Ill("misnamed-hook", _lit("def on_train_epoch_ends(self):\n    pass"),
        "hook names", "the hook is named on_train_epoch_end", verdict=ATTENTION),
    Ill("unvalidated", _lit("def validation_step(self, batch, batch_idx):\n    pass"),
        "validation", "there is no validation loader", verdict=ATTENTION),
    Ill("seldom-validated", _lit("def validation_step(self, batch, batch_idx):\n    pass\n"
        "def val_dataloader(self):\n    return DataLoader(points())"),
        "validation", "due every 5 epochs, and the training has 2; only the sanity check",
        "max_epochs: 2, check_val_every_n_epoch: 5"),
    Ill("late-validated", _lit("def validation_step(self, batch, batch_idx):\n    pass\n"
        "def val_dataloader(self):\n    return DataLoader(points())"),
        "validation", "due every 50 batches (val_check_interval), and the whole training has 8",
        "max_epochs: 2, val_check_interval: 50, check_val_every_n_epoch: null"),
    Ill("every-other-epoch", "class Tape:\n    at = 0\n    def __len__(self):\n        return 4\n"
        "    def __iter__(self):\n        return self\n    def __next__(self):\n        self.at += 1\n"
        "        if self.at > 4:\n            self.at = 0\n            raise StopIteration\n"
        "        return points(4).tensors\n"
        + _lit("def train_dataloader(self):\n    return Tape()"),
        "batches per epoch", "epoch 1 gets 0 of 4 batches", "max_epochs: 4"),
    Ill("one-of-two-empty", "from pytorch_lightning.utilities import CombinedLoader\n" + _lit(
        "def train_dataloader(self):\n    return CombinedLoader({'labelled': DataLoader(points(0)),"
        " 'rest': DataLoader(points())}, 'min_size')"), "empty loader", "labelled is empty"),
    Ill("cycle-by-epoch", _lit("def configure_optimizers(self):\n    opt = torch.optim.SGD(self.parameters(), lr=0.1)\n"
        "    cycle = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, "
        "total_steps=self.trainer.estimated_stepping_batches)\n"
        "    return [opt], [cycle]"), "learning rate schedule", "stepped once per epoch, 3 times in all",
        "max_epochs: 3"),
    Ill("schedule-by-hand", _lit("def __init__(self):\n    super().__init__()\n"
        "    self.automatic_optimization = False\n"
        "def training_step(self, batch, batch_idx):\n    opt = self.optimizers()\n    opt.zero_grad()\n"
        "    self.manual_backward(self.step(batch))\n    opt.step()\n"
        "def configure_optimizers(self):\n    opt = torch.optim.SGD(self.parameters(), lr=0.1)\n"
        "    return [opt], [torch.optim.lr_scheduler.StepLR(opt, 1)]", "Healthy"),
        "learning rate schedule", "StepLR is never stepped", "max_epochs: 2"),
    Ill("clips-nothing", _lit("pass"), "options without effect", "gradient_clip_val=1000.0 changes nothing",
        "max_epochs: 1, gradient_clip_val: 1000.0", verdict=ATTENTION),
    Ill("probabilities-for-logits", _lit("def training_step(self, batch, batch_idx):\n"
        "    out = torch.sigmoid(self.layer(batch[0]))\n"
        "    return nn.functional.binary_cross_entropy_with_logits(out, (batch[1] > 0).float())", "Healthy"),
        "loss inputs", "gets the output of a sigmoid"),
    Ill("in-a-list", _lit("def __init__(self):\n    super().__init__()\n    self.more = [nn.Linear(1, 1)]\n"
        "def step(self, batch):\n    return nn.functional.mse_loss(self.more[0](self.layer(batch[0])), batch[1])"),
        "unregistered weights", "more (a list), which the module does not register"),
    Ill("made-in-the-step", _lit("def step(self, batch):\n"
        "    return nn.functional.mse_loss(nn.Linear(1, 1)(self.layer(batch[0])), batch[1])"),
        "unregistered weights", "2 weights that are created in the step itself"),
    Ill("same-data", _lit("def __init__(self):\n    super().__init__()\n    self.both = points()\n"
                          "def train_dataloader(self):\n    return DataLoader(self.both)\n"
                          "def val_dataloader(self):\n    return DataLoader(self.both)\n"
                          "def validation_step(self, batch, batch_idx):\n    pass"),
        "shared data", "use the same dataset", verdict=ATTENTION),
    Ill("unseeded", "import numpy as np\n" + _lit(
        "def training_step(self, batch, batch_idx):\n"
        "    return self.step(batch) * float(np.random.default_rng().uniform(1, 2))"),
        "deterministic", "differ, from step 0 on, though the weights", verdict=ATTENTION),
    Ill("own-generator", _lit(
        "def training_step(self, batch, batch_idx):\n    own = torch.Generator()\n    own.seed()\n"
        "    return self.step(batch) * torch.rand(1, generator=own).sum()"),
        "deterministic", "differ, from step 0 on, though the weights", verdict=ATTENTION),
    Ill("clocked", _lit("def __init__(self):\n    torch.manual_seed(time.time_ns() % 2**31)\n    super().__init__()"),
        "deterministic", "differ, from the weights on", verdict=ATTENTION),
    Ill("hangs", _lit("def training_step(self, batch, batch_idx):\n    time.sleep(1000)", "Healthy"),
        "clean run", "in or after training_step"),
    Ill("hangs-before", _lit("def on_fit_start(self):\n    time.sleep(1000)"), "clean run", "before training_step"),
    Ill("dies", _lit("def training_step(self, batch, batch_idx):\n    os._exit(7)", "Healthy"),
        "clean run", "ended with status 7, in or after training_step"),
    Ill("unbuilt", _lit("def __init__(self):\n    raise FileNotFoundError('weights.pt')"),
        "build", "building the module raises FileNotFoundError: weights.pt"),
]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    working = create("fork", 2)
    yield working
    working.close()


def _findings(folder: Path, engine: Engine, name: str, source: str, trainer: str) -> list[Finding]:
    module = f"ill_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(_HEAD + source)
    file = folder / f"{module}.yaml"
    file.write_text(f"schema: 1\nname: {name}\nmodule: {{class_path: {module}.Lit}}\ntrainer: {{{trainer}}}\n")
    return list(examine(str(file), 4.0 if name.startswith("hangs") else 60.0, engine=engine))


# Of each cause the first is quick.
_FIRST = {ill.check: ill.name for ill in reversed(ILL)}
_MORE = pytest.mark.nightly(reason="more trainings that are ill of a cause; the quick ring has one of each cause")
_ALL = [pytest.param(ill, id=ill.name, marks=() if _FIRST[ill.check] == ill.name else _MORE) for ill in ILL]


@pytest.mark.parametrize("ill", _ALL)
def test_every_cause_is_diagnosed_by_its_name(ill: Ill, tmp_path: Path, engine: Engine) -> None:
    found = _findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
    told = [one for one in found if one.check == ill.check and one.verdict == ill.verdict and ill.said in one.what]
    assert told, [one for one in found if one.verdict != OK]
    assert told[0].remedy
    assert told[0].evidence
    causes = {check.name for check in CAUSES.known}
    assert {one.check for one in found if one.verdict == WRONG and one.check in causes} <= {ill.check}, "and no other"


def test_a_healthy_module_has_no_findings(tmp_path: Path, engine: Engine) -> None:
    found = _findings(tmp_path, engine, "healthy", _lit("pass"), "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []
    said = {one.check: one.what for one in found}
    assert "called 8 times for 8 batches" in said["executed"]
    assert "it is deterministic" in said["clean run"]


def test_a_validation_that_takes_the_training_step_is_no_training_without_gradients(
    tmp_path: Path, engine: Engine
) -> None:
    source = """
class Lit(Trained):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))
    def val_dataloader(self):
        return DataLoader(points(8), batch_size=4)
"""
    found = _findings(tmp_path, engine, "shared-step", source, "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []
    assert "called 8 times for 8 batches" in {one.check: one.what for one in found}["executed"]


def test_a_handler_that_asks_by_an_exception_is_left_alone(tmp_path: Path, engine: Engine) -> None:
    source = _lit(
        "def training_step(self, batch, batch_idx):\n    try:\n        scale = {}['scale']\n    except KeyError:\n"
        "        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = _findings(tmp_path, engine, "asks", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


def test_remedies_are_of_what_was_seen(tmp_path: Path, engine: Engine) -> None:
    told = {ill.name: ill for ill in ILL}
    for name, said in {
        "keys-for-parts": "batch['x'], batch['y']",
        "gradients-lost": "Check your on_after_backward",
        "swallows-in-a-sampler": "IndexError is raised in line",
    }.items():
        ill = told[name]
        found = _findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
        assert any(said in one.remedy for one in found if one.check == ill.check), name


_SWALLOWS_BY_HAND = """
class Lit(Healthy):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
    def training_step(self, batch, batch_idx):
        try:
            opt = self.optimizers()
            loss = self.step(batch{})
            opt.zero_grad()
            self.manual_backward(loss)
            opt.step()
            self.lr_schedulers().step()
        except (RuntimeError, ValueError):
            return None
    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), 0.1)
        return [opt], [torch.optim.lr_scheduler.StepLR(opt, 2)]
"""


def test_exceptions_in_a_copy_that_the_doctor_runs_are_not_called_swallowed(tmp_path: Path, engine: Engine) -> None:
    found = _findings(tmp_path, engine, "by-hand", _SWALLOWS_BY_HAND.format(""), "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []


def test_a_consequence_of_a_swallowed_exception_is_called_one(tmp_path: Path, engine: Engine) -> None:
    found = _findings(tmp_path, engine, "loses", _SWALLOWS_BY_HAND.format("[:1]"), "max_epochs: 2")
    (cause,) = [one for one in found if one.check == "swallowed exceptions"]
    assert cause.verdict == WRONG
    (schedule,) = [one for one in found if one.check == "learning rate schedule"]
    assert schedule.verdict == ATTENTION
    assert "probably a consequence of the ValueError that is swallowed in line" in schedule.what
    assert "Fix the swallowed exception first" in schedule.remedy


def test_an_exception_of_copies_and_inspections_is_not_traced(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "def asks():\n    try:\n        raise RuntimeError('x.')\n    except Exception:\n        pass\n"
    )
    code: dict[str, Any] = {}
    file = str(tmp_path / "asks.py")
    exec(compile(Path(file).read_text(), file, "exec"), code)
    for tried, times in ((True, 0), (False, 1)):
        watch = Swallowing(UserCode(folders=(str(tmp_path),)), lambda tried=tried: tried)  # type: ignore[misc]
        with watch.watching():
            code["asks"]()
        watch.settle("training_step", 0, None)
        assert len(watch.found) == times


def test_contexts_that_let_exceptions_through_are_not_blamed(tmp_path: Path, engine: Engine) -> None:
    source = "import threading\nlock = threading.Lock()\n" + _lit(
        "def scale(self):\n    with lock, torch.no_grad():\n        return {}['scale']\n"
        "def training_step(self, batch, batch_idx):\n    try:\n        scale = self.scale()\n"
        "    except KeyError:\n        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = _findings(tmp_path, engine, "lets-through", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


def test_what_a_thread_hands_back_is_not_lost(tmp_path: Path, engine: Engine) -> None:
    source = "from concurrent.futures import ThreadPoolExecutor\n" + _lit(
        "def scale(self):\n    raise KeyError('scale')\n"
        "def training_step(self, batch, batch_idx):\n    with ThreadPoolExecutor(1) as pool:\n"
        "        asked = pool.submit(self.scale)\n    try:\n        scale = asked.result()\n"
        "    except KeyError:\n        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = _findings(tmp_path, engine, "hands-back", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


def test_what_the_doctor_fails_at_itself_is_told_as_that_and_ends_nothing() -> None:
    class Hostile(dict[str, object]):
        def __len__(self) -> int:
            raise KeyError("named_parameters")

    seen: dict[str, object] = {}
    course = Course(seen, UserCode(), contextlib.nullcontext)
    with course.step((Hostile(),)) as told:
        told(torch.nn.Linear(1, 1), torch.ones(1, requires_grad=True) * 2)
    (found,) = [one for one in TOLD.run(seen) if one.check == "skipped checks"]
    assert (found.verdict, found.what) == (
        ATTENTION,
        "the doctor could not inspect the batch, and skipped the checks that need it",
    )
    assert "KeyError" in found.evidence


def test_a_frame_of_faultlabs_own_is_never_called_the_trainings_failure() -> None:
    error = {"message": "KeyError: 'to'", "own": "train.py:3", "raised": "", "ours": True, "during": "training_step"}
    (found,) = [one for one in LEARNING.run(_seen(error=error)) if one.check == "end of the run"]
    assert found.verdict == ATTENTION
    assert "not your code" in found.what


def _seen(**more: object) -> dict[str, object]:
    step = {"kind": "method", "owner": "Lit", "place": "train.py:1", "replaced": ""}
    return {"calls": {"training_step": 1}, "outputs": {}, "step": step, "facts": {}, "batches": 1, **more}


def test_a_test_of_the_scripts_name_that_is_never_true_is_named(tmp_path: Path, engine: Engine) -> None:
    script = tmp_path / "misspelt_main.py"
    script.write_text(
        "import pytorch_lightning as pl\nfrom pytorch_lightning.demos.boring_classes import BoringModel\n"
        'if __name__ == "main":\n    pl.Trainer(max_epochs=1).fit(BoringModel())\n'
    )
    (found,) = [one for one in examine(str(script), 60, engine=engine) if one.verdict == WRONG]
    assert "`__name__ == 'main'` in line 3 is never true" in found.what
    assert found.remedy == 'Write if __name__ == "__main__":'


def test_a_checkpoint_that_has_done_all_epochs_is_told_though_its_path_is_in_a_variable(
    tmp_path: Path, engine: Engine
) -> None:
    script = tmp_path / "resumes.py"
    script.write_text(
        "import pathlib, torch\nimport pytorch_lightning as pl\n"
        "from pytorch_lightning.demos.boring_classes import BoringModel\n"
        "last = pathlib.Path(__file__).parent / 'last.ckpt'\n"
        "pl.Trainer(max_epochs=2).fit(BoringModel(), ckpt_path=str(last) if last.exists() else None)\n"
    )
    progress = {"current": {"completed": 2}}
    torch.save({"loops": {"fit_loop": {"epoch_progress": progress}}, "global_step": 128}, tmp_path / "last.ckpt")
    told = [one for one in examine(str(script), 60, engine=engine) if one.check == "checkpoint to resume from"]
    assert [one.verdict for one in told] == [WRONG]
    assert "has already completed 2 epochs, and max_epochs is 2" in told[0].what


def test_what_draws_by_itself_is_named_with_its_line(tmp_path: Path, engine: Engine) -> None:
    evidence = {}
    for ill in [one for one in ILL if one.check == "deterministic"]:
        found = _findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
        (told,) = [one for one in found if one.check == "deterministic"]
        evidence[ill.name] = told.evidence
    assert "a generator of numpy.random without a seed, drawn at" in evidence["unseeded"]
    assert "ill_unseeded.py:" in evidence["unseeded"]
    assert "in training_step" in evidence["unseeded"]
    assert "torch.Generator.seed(), drawn at" in evidence["own-generator"]
    assert "torch.manual_seed(" in evidence["clocked"]
    assert "in the next run" in evidence["clocked"]


def test_lightnings_own_example_has_no_findings(engine: Engine) -> None:
    found = list(examine("pytorch_lightning.demos.boring_classes.BoringModel", 60.0, engine=engine))
    assert [one for one in found if one.verdict != OK] == []


def test_the_place_of_a_hang_is_named(tmp_path: Path, engine: Engine) -> None:
    (ill,) = [one for one in ILL if one.name == "hangs"]
    found = _findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
    (told,) = [one for one in found if one.verdict == WRONG]
    assert "ill_hangs.py:" in told.evidence
    assert "in training_step" in told.evidence


def test_scripts_around_the_module_are_read(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(
        "from lightning.pytorch import Trainer\nfrom pytorch_lightning import seed_everything\n"
        "from ill_scripted import Lit\ntrainer = Trainer(limit_train_batches=0, fast_dev_run=True)\n"
        "trainer.test(Lit())\n"
    )
    found = _findings(tmp_path, engine, "scripted", _lit("pass"), "max_epochs: 1")
    said = [one.what for one in found if one.verdict == ATTENTION]
    assert any("limit_train_batches=0" in what for what in said)
    assert any("fast_dev_run" in what for what in said)
    assert any("call trainer.test but never trainer.fit" in what for what in said)
    assert any("both lightning and pytorch_lightning" in what for what in said)
    (tmp_path / "train.py").write_text("from ill_scripted import Lit\ntrainer.fit(Lit(), ckpt_path='last.ckpt')\n")
    found = _findings(tmp_path, engine, "scripted", _lit("pass"), "max_epochs: 1")
    assert any("resumes from last.ckpt" in one.what for one in found if one.check == "resumed training")


SCRIPT = """
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

class Lit(BoringModel):
{steps}

trainer = pl.Trainer(max_epochs=500, {arguments})
trainer.{call}(Lit())
"""


@pytest.mark.parametrize(
    ("steps", "arguments", "call", "check", "verdict", "said"),
    [
        ("    pass", "", "fit", "clean run", OK, "the first 100 steps take"),
        (
            "    def train_step(self, batch, batch_idx): ...",
            "",
            "fit",
            "another method runs",
            WRONG,
            "named train_step",
        ),
        ("    pass", "limit_train_batches=0", "fit", "no batches requested", WRONG, "limit_train_batches"),
        ("    pass", "", "test", "import", WRONG, "calls no Trainer.fit"),
    ],
)
def test_a_training_script_is_examined_as_far_as_a_hundred_steps(
    tmp_path: Path, engine: Engine, steps: str, arguments: str, call: str, check: str, verdict: str, said: str
) -> None:
    script = tmp_path / f"train_{call}_{len(steps)}_{len(arguments)}.py"
    script.write_text(SCRIPT.format(steps=steps, arguments=arguments, call=call))
    found = list(examine(str(script), 60, engine=engine))
    assert [one for one in found if one.check == check and one.verdict == verdict and said in one.what], found


def test_names_that_are_nearly_hooks_are_told_from_names_of_ones_own() -> None:
    hooks = ["training_step", "validation_step", "on_train_epoch_end", "val_dataloader", "test_step"]
    assert meant("train_step", hooks) == "training_step"
    assert meant("Training_step", hooks) == "training_step"
    assert meant("valid_dataloader", hooks) == "val_dataloader"
    assert [meant(name, hooks) for name in ("training_step", "step", "shared_step", "__init__", "encode")] == [""] * 5


def test_a_property_with_its_setter_is_not_defined_twice() -> None:
    text = "class A:\n    @property\n    def setup(self): ...\n    @setup.setter\n    def setup(self, v): ...\n"
    assert class_facts(text, "A", ["setup"])["twice"] == []


def _doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "faultlab", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=120)


def test_the_environment_is_checked_without_torch_and_everything_is_named() -> None:
    done = _doctor("--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    names = {one["check"] for one in told["findings"]}
    assert {"python", "packages", "fork", "cores", "temporary folder", "pytest plugin", "GPU"} <= names
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "faultlab.doctor.environment" in imported
    assert not imported & {"torch", "pytorch_lightning", "numpy"}


def test_an_unfit_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from faultlab.doctor import environment

    versions = {"torch": "1.13.1", "pytorch-lightning": "2.6.6", "lightning": "2.5.0", "pytest": "9.2.0", "mutmut": ""}
    monkeypatch.setattr(environment, "_version", lambda name: versions[name])
    monkeypatch.setattr(environment, "_free_memory", lambda: 0.5)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    found = {(one.verdict, one.what): one for one in ENVIRONMENT.run({})}
    told = " ".join(what for verdict, what in found if verdict != OK)
    for said in ("torch 1.13.1 is too old", "mutmut is not installed", "in different versions", "0.5 GB of memory",
                 "does not load plugins automatically"):  # fmt: skip
        assert said in told
    assert all(one.remedy for one in found.values() if one.verdict != OK)


def test_quiet_prints_only_what_needs_attention_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from faultlab.doctor import environment

    monkeypatch.setattr(environment, "_free_memory", lambda: 0.5)
    versions = {"torch": "1.13.1", "pytorch-lightning": "2.5.0", "lightning": "", "pytest": "8.3.0", "mutmut": "3.8.0"}
    monkeypatch.setattr(environment, "_version", lambda name: versions[name])
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    loud, quiet = (CliRunner().invoke(group, ["doctor", *flags], standalone_mode=False) for flags in ([], ["-q"]))
    assert loud.return_value == quiet.return_value == 1
    assert "ok        python: Python" in loud.stdout
    assert quiet.stdout.splitlines() == [
        "wrong     packages: torch 1.13.1 is too old",
        "          -> Run `python -m pip install 'torch>=2.4'`.",
        "attention memory: only 0.5 GB of memory are free",
        "          -> Use --jobs 1.",
    ]


def test_wrong_targets_and_broken_scenarios_end_with_their_own_status(tmp_path: Path) -> None:
    def doctor(target: str) -> subprocess.CompletedProcess[str]:
        return warm.run(["-m", "faultlab", "doctor", target], cwd=ROOT)

    assert doctor("nowhere.yaml").returncode == 2
    assert doctor("LitModel").returncode == 2
    file = tmp_path / "broken.yaml"
    file.write_text("schema: 1\nname: broken\nmodule: {class_path: tests.broken.nowhere.Model}\n")
    done = doctor(str(file))
    assert done.returncode == 1
    assert f"no module named 'tests.broken.nowhere' ({file}:3:10)" in done.stdout
    assert "-> Run from the folder that holds the package, or install it." in done.stdout
    file.write_text("schema: 1\nname: broken\nmodul: {}\n")
    done = doctor(str(file))
    assert done.returncode == 1
    assert "unknown key 'modul'" in done.stdout


def test_what_is_no_target_is_said_and_a_class_may_be_named_as_init_takes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such script"):
        list(examine(str(tmp_path / "train.py"), 10))
    with pytest.raises(
        UsageError, match="expected a scenario file, a training script, a LightningCLI config or a class path"
    ):
        list(examine("train: Lit", 10))
    (found, *_) = examine("nowhere_at_all:Lit", 10)
    assert (found.check, found.verdict) == ("import", WRONG)
    assert "nowhere_at_all" in found.what + found.evidence

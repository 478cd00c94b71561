"""Small suites of made-up users, run by a pytest in a process of its own, which ``pytest --faultlab`` forks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import warm

MODEL = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    import pytorch_lightning as pl


    class LitModel(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            return self.layer(x)

        def training_step(self, batch, index):
            x, y = batch
            if x.ndim != 2:
                raise ValueError("not a batch of vectors")
            loss = nn.functional.mse_loss(self(x), y)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)


    def loader(**options):
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, **options)


    def trained(**options):
        quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", **quiet)
        trainer.fit(LitModel(), loader(**options))
        return trainer


    def loss_of(trainer):
        return float(trainer.callback_metrics["train_loss"])


    def is_finite(trainer):
        return bool(torch.isfinite(trainer.callback_metrics["train_loss"]))
"""


@dataclass
class Ran:
    """What an inner pytest left: its status and text, and what it wrote to the folder of ``--faultlab-out``."""

    status: int
    text: str
    tests: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def says(self, *passages: str) -> None:
        for passage in passages:
            assert passage in self.text, self.text

    @property
    def verdicts(self) -> dict[str, str]:
        """The status of each failure mode that was asked for, in the order of their ids."""
        return {fault["mode"]: fault["status"] for fault in self.report["faults"]}

    def cells(self, fault: str) -> dict[str, dict[str, Any]]:
        """What each test did under the fault, by the test's own name, in the order in which they ran."""
        (row,) = [row for row in self.tests["faults"] if row["id"].removesuffix("@always") == fault]
        return {cell["test"].rpartition("::")[2]: cell for cell in row["cells"]}

    def kinds(self, fault: str) -> dict[str, str]:
        """Why each test failed under the fault; empty for those that passed."""
        return {test: cell["kind"] for test, cell in self.cells(fault).items()}


def run(pytester: pytest.Pytester, suite: str, *options: str, model: str = MODEL, imports: str = "torch") -> Ran:
    """Runs the tests of ``suite``, of which ``mymodel`` is the code, with these options."""
    pytester.makepyfile(mymodel=model, test_suite=suite)
    arguments = ["-m", "pytest", f"--basetemp={pytester.path / 'basetemp'}", "-p", "no:cacheprovider", *options]
    done = warm.run(arguments, cwd=pytester.path, imports=imports)
    return Ran(done.returncode, done.stdout + done.stderr)


def faultlabbed(pytester: pytest.Pytester, suite: str, *options: str, select: str = "*", model: str = MODEL) -> Ran:
    """The same with ``--faultlab``, for the faults that are listed in ``select``."""
    selected = [f"--faultlab-select={fault}" for fault in select.split()]
    ran = run(pytester, suite, "--faultlab", "--faultlab-out=out", *selected, *options, model=model)
    out = pytester.path / "out"
    if out.exists():
        ran.tests = json.loads((out / "tests.json").read_text())
        ran.report = json.loads((out / "report.json").read_text())
    return ran

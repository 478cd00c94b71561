"""Tests that train on several ranks: copies of the test's process are the ranks, and faults act on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
SUITE = """
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

torch.manual_seed(0)
POINTS = torch.randn(32, 4)
DATA = TensorDataset(POINTS, (POINTS[:, 0] > 0).long())
QUIET = {{name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}}


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch, i):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_trainer(tmp_path):
    module, before = Lit(), None
    before = module.net.weight.detach().clone()
    trainer = pl.Trainer(strategy="{strategy}", devices=2, accelerator="cpu", max_epochs=1, default_root_dir=tmp_path,
                         **QUIET)
    trainer.fit(module, DataLoader(DATA, batch_size=4))
    assert not torch.equal(before, module.net.weight)
    assert trainer.world_size == 2
"""


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
@pytest.mark.nightly(reason="a suite under each strategy; the quick ring has the copies that are their ranks")
def test_a_suite_that_trains_on_two_ranks_is_broken_on_both(strategy: str, tmp_path: Path) -> None:
    (tmp_path / "test_ranked.py").write_text(SUITE.format(strategy=strategy))
    selected = ["distributed.gradients-unsynchronised", "distributed.rank-raises", "distributed.rank-killed"]
    command = [sys.executable, "-m", "pytest", "-q", "--faultlab", "--faultlab-out", "out"]
    command += [part for one in selected for part in ("--faultlab-select", one)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    (file,) = tmp_path.glob("out/**/report.json")
    found = {one["mode"]: one for one in json.loads(file.read_text())["faults"]}
    assert {mode: one["status"] for mode, one in found.items()} == {
        selected[0]: "silent",
        selected[1]: "detected",
        selected[2]: "detected",
    }, done.stdout
    assert found[selected[1]]["activations"] == 1

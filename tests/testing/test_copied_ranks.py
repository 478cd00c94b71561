"""Tests that train on several ranks: copies of the test's process are the ranks, and faults act on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from faultlab.core.patching import Patches
from faultlab.engines.processes import children_of
from faultlab.ranks import copies, joining, membership

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def summed(rank: int) -> float:
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    return total.item() + 100 * rank


def test_a_function_is_called_as_each_rank_and_the_first_rank_returns() -> None:
    assert copies.together(3, summed, joins=False) == 6.0
    assert membership.present() is None
    assert not dist.is_initialized()
    assert "RANK" not in os.environ


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rank_that_raises_is_told_and_no_process_is_left(when: str) -> None:
    def call(rank: int) -> None:
        if when == "before" and rank:
            raise ValueError("no data for rank 1")
        dist.all_reduce(torch.ones(1))
        if rank:
            raise ValueError("no data for rank 1")

    before = children_of(os.getpid())
    with pytest.raises(RuntimeError, match="rank 1 raised ValueError: no data"):
        copies.together(2, call, joins=False)
    until = time.monotonic() + 10
    while children_of(os.getpid()) != before and time.monotonic() < until:
        time.sleep(0.01)
    assert children_of(os.getpid()) == before


def joined(rank: int, found: list[Any]) -> None:
    dist.init_process_group("gloo", "tcp://localhost:29999", rank=rank, world_size=2)
    found.append(summed(rank))
    dist.destroy_process_group()


def test_processes_that_spawn_would_start_are_copies() -> None:
    found: list[Any] = []
    with Patches() as patches:
        joining.take_spawn(
            patches, lambda function, args, size: copies.together(size, lambda rank: function(rank, *args), joins=True)
        )
        torch.multiprocessing.spawn(joined, args=(found,), nprocs=2)
    assert found == [3.0]


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

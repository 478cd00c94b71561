"""Loops that train on other batches than those of the loader that `watch` is given."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards import Alarm, watch
from faultlab.guards.known_good import KnownGoodRecorder
from tests.guards.gang import gang


def data(seed: int = 0) -> TensorDataset:
    inputs = torch.randn(96, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def trained(
    chosen: Any, *, spoils: bool = False, iterates: bool = False, join: Any = None, source: TensorDataset | None = None
) -> str:
    """Train on another loader over the same data; return the check of the alarm that ended it."""
    torch.manual_seed(0)
    source = data() if source is None else source
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    given = DataLoader(source, 8)
    try:
        with watch(model, optimizer, guards=chosen, loader=given):
            if join is not None:
                join()
            called: Any = model if join is None else DistributedDataParallel(model)
            for epoch in range(3):
                for number, (inputs, labels) in enumerate(given if iterates else DataLoader(source, 8, shuffle=True)):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(called(inputs), labels)
                    (loss * float("nan") if spoils and (epoch, number) == (1, 3) else loss).backward()
                    optimizer.step()
    except Alarm as alarm:
        return f"{alarm.guard} {alarm.check}"
    return ""


def test_guards_look_at_a_loop_that_makes_another_loader() -> None:
    assert trained(guards.all("full"), spoils=True).startswith("LossContract ")
    assert trained(guards.all("full")) == ""
    labels, loss = guards.Labels(), guards.LossContract()
    assert trained([labels, loss]) == ""
    assert "Labels looked 0 times, and skipped looks: the loop does not iterate over its loader (1x)" in labels.report()
    assert not loss.report()


def test_a_loop_that_makes_another_loader_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "known-good.json"
    assert trained([KnownGoodRecorder(file)]) == ""
    assert trained([KnownGoodRecorder(file)]) == ""
    assert trained([guards.KnownGood(file)]) == ""


def test_a_loop_in_which_no_batch_is_observed_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Linear(2, 2)
    with caplog.at_level(logging.WARNING, "faultlab.guards"), watch(model, torch.optim.SGD(model.parameters(), 0.1)):
        pass
    assert "no training batch was observed" in caplog.text
    caplog.clear()
    assert trained([guards.LossContract()], iterates=True) == ""
    assert not caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.parametrize("iterates", [True, False], ids=["its-loader", "another-loader"])
def test_gradients_that_ranks_average_are_no_alarm_in_a_loop_that_makes_its_group_itself(iterates: bool) -> None:
    def work() -> tuple[str, str, int]:
        store, rank, size = dist.distributed_c10d._get_default_store(), dist.get_rank(), dist.get_world_size()
        dist.destroy_process_group()

        def join() -> None:
            dist.init_process_group("gloo", store=dist.PrefixStore("again", store), rank=rank, world_size=size)

        recorder, faithful = KnownGoodRecorder(), guards.BackwardFaithful()
        said = trained([recorder, faithful], iterates=iterates, join=join, source=data(rank))
        return said, faithful.report(), len(recorder.summary or ())

    for said, report, recorded in gang(work):
        assert said == ""
        assert "several processes share the gradients" in report
        assert recorded

"""MetricsSynced in loops by hand: what the ranks compute in their validations, and when it is quiet."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from faultlab import guards
from faultlab.guards import Alarm, watch
from faultlab.guards.support.computed_metrics import CALLS
from tests.guards.gang import gang

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")

Validate = Callable[[Any, Any, ReduceLROnPlateau], None]


def trained(validate: Validate, *, shares: bool = True, chosen: Any = None) -> tuple[list[str], list[str], int]:
    """Train on this rank by hand; return the alarm, the warnings, and how often MetricsSynced looked."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(96, 8), torch.randint(0, 3, (96,)))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, 8, sampler=sampler)
    validation = DataLoader(data, 16, sampler=DistributedSampler(data, shuffle=False) if shares else None)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    schedule = ReduceLROnPlateau(optimizer)
    guard = guards.MetricsSynced()
    said: list[str] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        try:
            with watch(model, optimizer, guards=chosen or [guard], loader=loader, validation=validation):
                for epoch in range(4):
                    sampler.set_epoch(epoch)
                    model.train()
                    for inputs, labels in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(inputs), labels).backward()
                        optimizer.step()
                    model.eval()
                    with torch.no_grad():
                        validate(model, validation, schedule)
        except Alarm as alarm:
            said = [alarm.guard, alarm.check, alarm.found]
    assert not CALLS.observers
    told = [str(one.message) for one in shown if issubclass(one.category, guards.guard.GuardWarning)]
    return said, told, guard.looked


class Unregistered(Metric):
    """Keeps its sums as plain tensors, which are not reduced over the ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("batches", torch.tensor(0), dist_reduce_fx="sum")
        self.hits, self.count = torch.tensor(0.0), 0

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        self.batches += 1
        self.hits += (logits.argmax(1) == labels).sum()
        self.count += len(labels)

    def compute(self) -> torch.Tensor:
        return self.hits / self.count


class Drawing(Metric):
    """Estimates its value from samples that each rank draws."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        self.total += len(labels)

    def compute(self) -> torch.Tensor:
        return self.total + torch.rand(()) * (1 + dist.get_rank())


def metered(make: Callable[[], Metric]) -> Validate:
    def validate(model: Any, validation: Any, schedule: Any) -> None:
        metric = make()
        for inputs, labels in validation:
            metric.update(model(inputs), labels)
        metric.compute()

    return validate


def accuracy() -> Metric:
    return MulticlassAccuracy(3)


def share_of(model: Any, validation: Any) -> torch.Tensor:
    hits = count = 0
    for inputs, labels in validation:
        hits += (model(inputs).argmax(1) == labels).sum()
        count += len(labels)
    return torch.tensor([float(hits), float(count)])


def by_share(model: Any, validation: Any, schedule: Any) -> None:
    hits, count = share_of(model, validation)
    schedule.step(hits / count)


def by_all(model: Any, validation: Any, schedule: Any) -> None:
    both = share_of(model, validation)
    dist.all_reduce(both)
    schedule.step(both[0] / both[1])


def reports_share(model: Any, validation: Any, schedule: Any) -> None:
    share_of(model, validation)
    dist.barrier()


def reports_all_in_another_group(model: Any, validation: Any, schedule: Any) -> None:
    both = share_of(model, validation)
    dist.all_reduce(both, group=dist.new_group(list(range(dist.get_world_size()))))


class Loss(MeanMetric):
    """A metric with the same states as that of another kind."""


def sends_to_the_first(model: Any, validation: Any, schedule: Any) -> None:
    both = share_of(model, validation)
    dist.send(both, 0) if dist.get_rank() else dist.recv(torch.empty(2), 1)


def mixes_metrics(model: Any, validation: Any, schedule: Any) -> None:
    metrics = [MeanMetric(), Loss()]
    for inputs, labels in validation:
        logits = model(inputs)
        metrics[0].update((logits.argmax(1) == labels).float())
        metrics[1].update(F.cross_entropy(logits, labels))
    for metric in reversed(metrics) if dist.get_rank() else metrics:
        metric.compute()


def on_first_alone(model: Any, validation: Any, schedule: Any) -> None:
    if dist.get_rank() == 0:
        metric = MulticlassAccuracy(3, sync_on_compute=False)
        for inputs, labels in validation:
            metric.update(model.module(inputs), labels)
        metric.compute()


def in_training_mode(model: Any, validation: Any, schedule: Any) -> None:
    model.train()
    metered(Unregistered)(model, validation, schedule)


def local_by_choice(model: Any, validation: Any, schedule: Any) -> None:
    metric = MulticlassAccuracy(3, sync_on_compute=False)
    for inputs, labels in validation:
        metric.update(model(inputs), labels)
    mean = metric.compute()
    dist.all_reduce(mean)


@pytest.mark.parametrize(
    ("validate", "check", "word"),
    [
        (metered(Unregistered), "unsynced", "Unregistered is 0."),
        (by_share, "unsynced", "the metric that ReduceLROnPlateau is stepped with is 0."),
        (mixes_metrics, "names", "rank 1 computes Loss where rank 0 computes MeanMetric"),
    ],
    ids=["a-metric-without-states", "a-schedule-by-a-share", "metrics-in-another-order"],
)
def test_metrics_that_are_not_those_of_all_ranks_are_found(validate: Validate, check: str, word: str) -> None:
    for said, _, looked in gang(lambda: trained(validate)):
        assert said[:2] == ["MetricsSynced", check], said
        assert word in said[2]
        assert looked == 1


def test_a_validation_of_shares_that_are_never_added_up_is_warned_of_once() -> None:
    for said, told, looked in gang(lambda: trained(reports_share)):
        assert said == []
        assert len(told) == 1
        assert "the ranks have exchanged nothing since then" in told[0]
        assert looked == 3


@pytest.mark.parametrize(
    ("validate", "shares", "looks"),
    [
        (metered(accuracy), True, 3),
        (by_all, True, 3),
        (metered(Drawing), True, 0),
        (reports_all_in_another_group, True, 0),
        (local_by_choice, True, 0),
        (sends_to_the_first, True, 0),
        (on_first_alone, False, 0),
        (by_share, False, 3),
        (in_training_mode, True, 0),
    ],
    ids=[
        "torchmetrics", "a-schedule-by-a-mean", "a-metric-that-draws", "another-group", "averaged-by-hand",
        "sent-to-one", "on-the-first-rank", "all-data-on-each-rank", "in-training-mode",
    ],
)  # fmt: skip
def test_healthy_validations_are_quiet(validate: Validate, shares: bool, looks: int) -> None:
    for said, told, looked in gang(lambda: trained(validate, shares=shares)):
        assert (said, told, looked) == ([], [], looks)


def test_no_guard_is_disturbed_by_what_a_loop_computes() -> None:
    for said, told, _ in gang(lambda: trained(metered(accuracy), chosen=list(guards.all()))):
        assert (said, told) == ([], [])

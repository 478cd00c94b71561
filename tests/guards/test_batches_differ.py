from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, Subset

from faultlab.guards import Alarm, BatchesDiffer, GuardWarning, watch
from tests.guards.rig import Healthy, alarm_of, fit, loaders, points
from tests.guards.test_validation_runs import Wide, on, wide


class Stuck:
    """Yields the same batch each time."""

    def __init__(self, times: int) -> None:
        self.batches = [next(iter(loaders()[0]))] * times

    def __iter__(self) -> Any:
        return iter([[part.clone() for part in batch] for batch in self.batches])

    def __len__(self) -> int:
        return len(self.batches)


def test_a_batch_that_comes_again_is_detected() -> None:
    alarm = alarm_of(BatchesDiffer(), train=Stuck(4))
    assert alarm is not None
    assert (alarm.check, "batch 1 is identical" in alarm.found) == ("repeated-batch", True)


def test_overfitting_a_single_batch_is_detected_and_a_dataset_of_a_single_batch_is_not() -> None:
    fit(BatchesDiffer(), train=Stuck(1))
    alarm = alarm_of(BatchesDiffer(), overfit_batches=1)
    assert alarm is not None
    assert "overfit_batches is 1" in alarm.found


def test_samples_that_come_many_times_are_detected() -> None:
    often = Subset(wide(300), list(range(300)) + 10 * list(range(30)))
    alarm = alarm_of(BatchesDiffer(), Wide(), *on(often, wide(128, seed=1)))
    assert alarm is not None
    assert (alarm.check, "of 128 validation samples 0 are" in alarm.found) == (
        "duplicates",
        True,
    ) or "of 64" in alarm.found


def test_duplicates_that_validation_has_too_are_allowed() -> None:
    def coarse(seed: int) -> Any:
        return [((x > 0).float(), y) for x, y in wide(400, seed)]

    fit(BatchesDiffer(), Wide(), *on(coarse(0), coarse(1)))


@pytest.mark.parametrize("shuffled", [True, False])
def test_a_loader_that_does_not_shuffle_is_warned_of_unless_it_need_not(shuffled: bool) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        fit(BatchesDiffer(shuffled=shuffled), train=DataLoader(points(160), batch_size=16))
    told = [one for one in shown if one.category is GuardWarning]
    assert [("does not shuffle" in str(one.message)) for one in told] == [True] * shuffled


def by_epoch(sets_epoch: bool) -> Any:
    class Loader(DataLoader[Any]):
        epoch = 0

        def __iter__(self) -> Any:
            if sets_epoch:
                self.sampler.set_epoch(self.epoch)  # type: ignore[attr-defined]
                self.epoch += 1
            return super().__iter__()

    sampler: Any = DistributedSampler(points(320), num_replicas=2, rank=0)
    return Loader(points(320), batch_size=16, sampler=sampler)


class SeededAgain(DataLoader[Any]):
    """Draws the same numbers in each epoch."""

    def __iter__(self) -> Any:
        torch.manual_seed(0)
        return super().__iter__()


def run(train: DataLoader[Any]) -> None:
    """Train in a loop, since Lightning sets the epoch of samplers itself."""
    module = Healthy()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    with watch(module, optimizer, guards=BatchesDiffer(), loader=train):
        for _ in range(3):
            for inputs, labels in train:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(inputs), labels).backward()
                optimizer.step()


@pytest.mark.parametrize(
    ("train", "said"),
    [(by_epoch(False), "set_epoch"), (SeededAgain(points(160), batch_size=16, shuffle=True), "Seed once")],
)
def test_a_sampler_that_shuffles_alike_in_every_epoch_is_detected(train: Any, said: str) -> None:
    with pytest.raises(Alarm, match=said) as caught:
        run(train)
    assert caught.value.check == "shuffled-alike"


def test_samplers_that_shuffle_anew_are_allowed() -> None:
    run(by_epoch(True))
    run(DataLoader(points(160), batch_size=16, shuffle=True))


@pytest.mark.parametrize(
    "train",
    [
        DataLoader(points(48), batch_size=8),
        DataLoader(ConcatDataset([points(64), points(64, seed=1)]), batch_size=16, shuffle=True),
        [DataLoader(points(16), batch_size=16), DataLoader(points(128), batch_size=8)],
        DataLoader(points(), batch_size=16, sampler=torch.utils.data.WeightedRandomSampler([1.0, 9.0] * 64, 400)),
    ],
)
def test_other_loaders_are_allowed(train: Any) -> None:
    class Any_(Wide):  # noqa: N801 - a module that takes any of these batches
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch[0] if isinstance(batch[0], list) else batch, batch_idx)

    fit(BatchesDiffer(), Any_(), train)

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from faultlab.guards import BatchesDiffer
from tests.guards.rig import alarm_of, fit, loaders, points
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
def test_a_loader_that_does_not_shuffle_is_detected_unless_it_need_not(shuffled: bool) -> None:
    alarm = alarm_of(BatchesDiffer(shuffled=shuffled), train=DataLoader(points(160), batch_size=16))
    assert (alarm is not None and alarm.check == "same-order") == shuffled


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

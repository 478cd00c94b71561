from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import ValidationRuns
from tests.guards.rig import Healthy, Streamed, alarm_of, fit, loaders, points


class Wide(Healthy):
    """Takes the first four of eight features."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs[:, :4])


def wide(n: int, seed: int = 0) -> TensorDataset:
    inputs = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs[:, 0] > 0).long())


def on(training: Any, validation: Any) -> tuple[DataLoader[Any], DataLoader[Any]]:
    return DataLoader(training, batch_size=16, shuffle=True), DataLoader(validation, batch_size=32)


@pytest.mark.parametrize("sanity", [0, 2])
def test_validation_on_training_data_is_detected(sanity: int) -> None:
    alarm = alarm_of(ValidationRuns(), Wide(), *on(wide(128), wide(128)), num_sanity_val_steps=sanity)
    assert alarm is not None
    assert (alarm.check, "the same data" in alarm.found) == ("on-training-data", True)


def test_validation_on_other_data_is_allowed_and_so_are_samples_that_are_the_same_by_chance() -> None:
    fit(ValidationRuns(), Wide(), *on(wide(128), wide(128, seed=1)))

    def coarse(seed: int) -> TensorDataset:
        inputs, labels = wide(256, seed).tensors
        return TensorDataset((inputs > 0).float(), labels)

    fit(ValidationRuns(), Wide(), *on(coarse(0), coarse(1)))


def test_small_sets_may_be_validated_on_what_they_were_trained_on() -> None:
    fit(ValidationRuns(), Wide(), *on(wide(48), wide(48)))


def test_validation_that_is_never_run_is_detected() -> None:
    alarm = alarm_of(ValidationRuns(), limit_val_batches=0)
    assert alarm is not None
    assert (alarm.check, "limit_val_batches is 0" in alarm.found) == ("never-runs", True)

    class Misspelt(Healthy):
        validation_step = Healthy.__base__.validation_step  # type: ignore[union-attr]

    alarm = alarm_of(ValidationRuns(), Misspelt())
    assert alarm is not None
    assert (alarm.check, "no validation_step" in alarm.found) == ("never-runs", True)


def test_validation_data_that_are_empty_are_detected() -> None:
    alarm = alarm_of(ValidationRuns(), validation=DataLoader(points(0)))
    assert alarm is not None
    assert alarm.check == "empty"


@pytest.mark.parametrize(("sanity", "said"), [(2, "1 of 2"), (0, "1 of 4")])
def test_validation_that_is_cut_short_is_detected(sanity: int, said: str) -> None:
    class Ending(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 1:
                raise StopIteration

    alarm = alarm_of(
        ValidationRuns(), Ending(), validation=loaders(16)[0], num_sanity_val_steps=sanity, limit_val_batches=4
    )
    assert alarm is not None
    assert (alarm.check, said in alarm.found) == ("cut-short", True), alarm.found


def test_an_epoch_without_the_validation_that_was_due_is_detected() -> None:
    class Ending(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 5:
                raise StopIteration
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(ValidationRuns(), Ending())
    assert alarm is not None
    assert (alarm.check, "5 of 8" in alarm.found) == ("skipped", True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"check_val_every_n_epoch": 2},
        {"val_check_interval": 0.5},
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {"max_steps": 5},
        {"fast_dev_run": True},
        {"limit_val_batches": 1},
    ],
)
def test_validation_at_other_times_is_allowed(arguments: dict[str, Any]) -> None:
    fit(ValidationRuns(), **arguments)


def test_several_validation_loaders_are_allowed() -> None:
    class Several(Healthy):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    fit(ValidationRuns(), Several(), validation=[loaders()[1], loaders(8)[1]])


@pytest.mark.parametrize("arguments", [{}, {"limit_val_batches": 4}])
def test_a_loader_without_a_length_may_end_before_the_limit(arguments: dict[str, Any]) -> None:
    fit(ValidationRuns(), validation=Streamed(1), **arguments)


class Graph(Wide):
    """Gets all points each time, with masks of those that count."""

    def step(self, batch: Any, stage: str) -> torch.Tensor:
        inputs, labels = batch["points"][batch[stage]], batch["labels"][batch[stage]]
        return functional.cross_entropy(self(inputs), labels)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.step(batch, "train_mask")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.step(batch, "val_mask"), batch_size=1)


def graph(**more: Any) -> list[dict[str, Any]]:
    inputs, labels = wide(128).tensors
    first = torch.arange(128) < 96
    return [{"points": inputs, "labels": labels, "train_mask": first, "val_mask": ~first, **more}]


def test_masks_over_one_graph_are_allowed() -> None:
    several = graph() * 3
    module = Graph()
    fit(ValidationRuns(), module, DataLoader(several, None), DataLoader(several, None), max_epochs=3)


def test_the_whole_of_the_data_as_one_batch_is_allowed_since_masks_may_lie_elsewhere() -> None:
    data = wide(128)
    whole = DataLoader(data, 128)
    fit(ValidationRuns(), Wide(), whole, whole, max_epochs=3, log_every_n_steps=1)
    assert alarm_of(ValidationRuns(), Wide(), DataLoader(data, 64), whole) is not None


def test_a_mask_of_padding_does_not_hide_validation_on_training_data() -> None:
    inputs, labels = wide(128).tensors
    data = TensorDataset(inputs, labels, torch.ones(128, 8, dtype=torch.bool))
    assert alarm_of(ValidationRuns(), Wide(), *on(data, data)) is not None


class Once:
    """Validation batches that can be iterated over once, without a length."""

    def __init__(self, again: bool) -> None:
        self._batches = list(loaders()[1])
        self._left = iter(self._batches)
        self._again = again

    def __iter__(self) -> Any:
        return iter(self._batches) if self._again else self._left


def test_validation_batches_that_are_exhausted_by_the_first_validation_are_detected() -> None:
    alarm = alarm_of(ValidationRuns(), validation=Once(again=False), num_sanity_val_steps=0)
    assert alarm is not None
    assert alarm.check == "cut-short"
    assert "0 validation batches, but the first one had 2" in alarm.found
    fit(ValidationRuns(), validation=Once(again=True), num_sanity_val_steps=0)

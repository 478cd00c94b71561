"""ItemsApart: datasets whose samples change the stored data, or repeat each other's random numbers."""

from __future__ import annotations

import random
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from faultlab.guards import Alarm, ItemsApart, watch
from faultlab.guards.support import datasets, fetch_calls
from faultlab.guards.support.hand_loop import HandLoop
from tests.guards.rig import Healthy, alarm_of, fit, points


class Stored(Dataset[Any]):
    """Keeps its inputs in an array, and its labels in a tensor."""

    def __init__(self) -> None:
        inputs, self.labels = points().tensors
        self.inputs: Any = inputs.numpy().copy()
        self.seen = torch.zeros(len(inputs), 4)
        self.counts = torch.zeros(len(inputs), 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.changed(self.inputs[index]), self.labels[index]

    def changed(self, row: Any) -> Any:
        return torch.as_tensor(row)


class InPlace(Stored):
    def changed(self, row: Any) -> Any:
        row *= 0.9
        return torch.as_tensor(row)


class InPlaceInTensor(InPlace):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = torch.from_numpy(self.inputs)


class Copying(Stored):
    def changed(self, row: Any) -> Any:
        row = row.copy()
        row *= numpy.random.rand()
        return torch.as_tensor(row)


class Caching(Stored):
    """Fills a cache as it goes, and counts how often it was read."""

    def __getitem__(self, index: int) -> Any:
        self.counts[index] += 1
        if not self.seen[index].any():
            self.seen[index] = torch.as_tensor(self.inputs[index])
        return self.seen[index], self.labels[index]


class Clamping(Stored):
    def changed(self, row: Any) -> Any:
        row[:] = row.clip(-1, 1)
        return torch.as_tensor(row)


def loader_of(dataset: Any, **more: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=16, shuffle=True, **more)


def half(dataset: Any) -> Any:
    return Subset(dataset, range(64))


def twice(dataset: Any) -> Any:
    return ConcatDataset([dataset, Stored()])


@pytest.mark.parametrize("within", [lambda dataset: dataset, half, twice])
@pytest.mark.parametrize("cls", [InPlace, InPlaceInTensor])
def test_stored_samples_that_are_changed_by_reading_them_are_detected_in_the_second_epoch(
    cls: type[Stored], within: Any
) -> None:
    alarm = alarm_of(ItemsApart(), train=loader_of(within(cls())), max_epochs=3)
    assert alarm is not None
    assert alarm.check == "stored-changed"
    assert f"{cls.__name__}.inputs" in alarm.found


def looped(loader: DataLoader[Any]) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, guards=ItemsApart(), loader=loader):
        for _ in range(3):
            for inputs, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()


def test_stored_samples_that_are_changed_are_detected_in_a_loop() -> None:
    with pytest.raises(Alarm, match=r"InPlace\.inputs"):
        looped(loader_of(InPlace()))
    looped(loader_of(Copying()))


@pytest.mark.parametrize("cls", [Stored, Copying, Caching, Clamping])
def test_copies_caches_and_what_changes_once_are_allowed(cls: type[Stored]) -> None:
    fit(guard := ItemsApart(), train=loader_of(cls()), max_epochs=3)
    assert guard.looked


class Relabelling(Healthy):
    """Revises soft labels of the dataset around each batch, as trainings with noisy labels do."""

    def __init__(self, dataset: Stored) -> None:
        super().__init__()
        self.dataset = dataset

    def on_train_batch_start(self, *args: Any) -> None:
        self.dataset.seen += 1.0

    def on_train_batch_end(self, *args: Any) -> None:
        self.dataset.seen += 1.0


def test_data_that_the_training_revises_are_allowed() -> None:
    dataset = Stored()
    dataset.seen += 1.0
    fit(ItemsApart(), Relabelling(dataset), train=loader_of(dataset), max_epochs=3)
    assert not fetch_calls.CALLS.observers


class Drawing(Stored):
    """Adds noise from a generator of its own."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator = generator

    def changed(self, row: Any) -> Any:
        return torch.as_tensor(row) + self.noise()

    def noise(self) -> Any:
        return self.generator.random()


class OfTorch(Drawing):
    def noise(self) -> Tensor:
        if self.generator is None:
            self.generator = torch.Generator().manual_seed(torch.initial_seed())
        return torch.randn(4, generator=self.generator)


class Reseeding(Drawing):
    def noise(self) -> Any:
        return numpy.random.default_rng([torch.initial_seed(), len(self)]).random() * self.generator.random()


class Unused(Drawing):
    """Has used its generator to split the data."""

    def noise(self) -> Any:
        return 0.0


@pytest.mark.parametrize(
    "dataset",
    [
        Drawing(numpy.random.default_rng(0)),
        Drawing(random.Random(0)),
        OfTorch(torch.Generator()),
        half(OfTorch(torch.Generator())),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_generator_that_every_worker_has_a_copy_of_is_detected_before_the_first_batch(
    dataset: Any, workers: int
) -> None:
    guard = ItemsApart()
    alarm = _alarm_at_start(guard, loader_of(dataset, num_workers=workers))
    assert alarm is not None
    assert alarm.check == "shared-generator"
    assert ".generator" in alarm.found


def _seed(worker: int) -> None:
    pass


@pytest.mark.parametrize(
    "loader",
    [
        loader_of(Drawing(random.Random(0))),
        loader_of(Drawing(random.Random(0)), num_workers=2, worker_init_fn=_seed),
        loader_of(Drawing(random.Random(0)), num_workers=1, persistent_workers=True),
        loader_of(OfTorch(None), num_workers=2),
        loader_of(Reseeding(random.Random(0)), num_workers=2),
        loader_of(Unused(random.Random(0)), num_workers=2),
        loader_of(Copying(), num_workers=2),
    ],
)
def test_generators_that_are_seeded_or_not_copied_are_allowed(loader: DataLoader[Any]) -> None:
    assert _alarm_at_start(guard := ItemsApart(), loader) is None
    assert guard.looked


def _alarm_at_start(guard: ItemsApart, loader: DataLoader[Any]) -> Alarm | None:
    """Return the alarm of a training that ends before its workers begin."""
    view = HandLoop([], loader, None, 1, 1)
    try:
        guard.on_fit_start(view, None)
        guard.on_train_start(view, None)
    except Alarm as alarm:
        return alarm
    return None


def test_what_a_dataset_stores_is_not_copied() -> None:
    dataset = Stored()
    (name, values), *_ = datasets.stored(dataset)
    assert name == "Stored.inputs"
    dataset.inputs[0] = 7.0
    assert values[0].tolist() == [7.0] * 4

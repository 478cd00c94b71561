"""Changed loaders that Lightning makes again, to divide their samples among ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.data import _replace_dunder_methods
from pytorch_lightning.utilities.data import _update_dataloader
from torch.utils.data import DataLoader, DistributedSampler, Subset, TensorDataset

from faultlab.frameworks.lightning.seams.loading import _stored
from faultlab.frameworks.torch.loaders import read, rebuilt


class _Own(DataLoader[Any]):
    """A loader of a user's own, which makes its dataset itself."""

    def __init__(self, samples: int, **arguments: Any) -> None:
        super().__init__(TensorDataset(torch.arange(samples)), **arguments)


def _changed(loader: DataLoader[Any], **changes: Any) -> DataLoader[Any]:
    before = read(loader)
    after = replace(before, **changes)
    return _stored(rebuilt(loader, before, after), before, after)


def _divided(loader: DataLoader[Any]) -> DataLoader[Any]:
    divided = _update_dataloader(loader, DistributedSampler(loader.dataset, num_replicas=2, rank=0, shuffle=False))
    assert isinstance(divided, DataLoader)
    return divided


@pytest.mark.parametrize("by_name", [False, True])
def test_a_change_reaches_the_loader_of_a_rank(by_name: bool) -> None:
    dataset = TensorDataset(torch.arange(16))
    # As Lightning does while it asks a module or a datamodule for its loaders.
    with _replace_dunder_methods(DataLoader, "dataset"):
        loader = DataLoader(dataset=dataset, batch_size=2) if by_name else DataLoader(dataset, 2)
    fewer = Subset(dataset, range(8))
    divided = _divided(_changed(loader, dataset=fewer, batch_size=4))
    assert divided.dataset is fewer
    assert [batch.tolist() for (batch,) in divided] == [[0, 2, 4, 6]]
    assert [batch.tolist() for (batch,) in _divided(loader)] == [[0, 2], [4, 6], [8, 10], [12, 14]]


def test_a_loader_made_elsewhere_is_divided_as_it_was_changed() -> None:
    dataset = TensorDataset(torch.arange(16))
    divided = _divided(_changed(DataLoader(dataset, batch_size=2), dataset=Subset(dataset, range(4))))
    assert [batch.tolist() for (batch,) in divided] == [[0, 2]]


def test_a_loader_is_told_only_what_it_takes() -> None:
    with _replace_dunder_methods(DataLoader, "dataset"):
        loader = _Own(8, batch_size=2)
    assert _changed(loader) is loader
    divided = _divided(_changed(loader, dataset=Subset(loader.dataset, range(4)), batch_size=4))
    assert [batch.tolist() for (batch,) in divided] == [[0, 2]]


def test_a_rank_keeps_its_share_of_a_changed_dataset_and_the_epochs_of_its_sampler() -> None:
    dataset = TensorDataset(torch.arange(16))
    sampler: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=2, rank=1)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler)
    before = read(loader)
    changed = rebuilt(loader, before, replace(before, dataset=Subset(dataset, range(8))))
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders.append([index for (batch,) in changed for index in batch.tolist()])
    assert [len(order) for order in orders] == [4, 4]
    assert max(map(max, orders)) < 8
    assert orders[0] != orders[1]

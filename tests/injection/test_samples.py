"""Batches of some of their samples, whatever they are made of, and what is put into containers that insist on order."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy
import pytest
import torch

from faultlab.frameworks.torch import facts
from faultlab.injection import samples, tree

NAMES = tuple("abcdef")
FIRST_TWO = torch.tensor([0, 1])


def _shapes(batch: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for _, tensor in tree.tensors(batch)]


def test_samples_are_dropped_from_lists_and_arrays_as_well() -> None:
    batch = (torch.randn(6, 3), torch.arange(6), NAMES, numpy.arange(6))
    along = samples.axes(batch, ["0"], ["1"], 6)
    taken = samples.take(batch, FIRST_TWO, along)
    assert samples.count(batch, along) == 6
    assert (_shapes(taken), taken[2], taken[3].tolist()) == ([(2, 3), (2,)], ("a", "b"), [0, 1])
    assert batch[2] == NAMES


def test_samples_are_dropped_where_time_comes_first() -> None:
    batch = {"x": torch.randn(9, 6, 3), "y": torch.arange(6)}
    for expected in (6, None):
        along = samples.axes(batch, ["x"], ["y"], expected)
        assert along == {"x": 1, "y": 0}
    assert _shapes(samples.take(batch, FIRST_TWO, along)) == [(9, 2, 3), (2,)]
    assert _shapes(samples.merged(batch, along))[1] == (1,)


def test_two_views_of_the_samples_are_no_two_samples() -> None:
    batch = ((torch.randn(2, 3), torch.randn(2, 3)), torch.arange(2), ("a", "b"))
    along = samples.axes(batch, ["0.0", "0.1"], ["1"], 2)
    assert along == {"0.0": 0, "0.1": 0, "1": 0, "2": 0}
    assert _shapes(samples.take(batch, torch.tensor([0]), along)) == [(1, 3), (1, 3), (1,)]


def test_a_list_of_images_of_their_own_size_is_dropped_from_by_the_image() -> None:
    images = [torch.randn(3, 4 + index, 4) for index in range(6)]
    targets = [{"boxes": torch.rand(index + 1, 4)} for index in range(6)]
    along = samples.axes((images, targets), ["0.0"], ["1.0.boxes"], 6)
    taken, kept = samples.take((images, targets), FIRST_TWO, along)
    assert (len(taken), len(kept)) == (2, 2)
    one, _ = samples.merged((images, targets), along)
    assert one == images[:1]


def test_a_mask_between_positions_holds_nothing_of_a_sample() -> None:
    batch = {"x": torch.randn(6, 5, 3), "mask": torch.ones(5, 5), "y": torch.arange(6)}
    assert samples.axes(batch, ["x", "mask"], ["y"], 6) == {"x": 0, "y": 0}


def test_inputs_without_samples_have_none_to_drop() -> None:
    batch = {"x": torch.randn(17, 3), "y": torch.arange(6)}
    assert samples.axes(batch, ["x"], ["y"], 6) == {}


class TensorDictBase:
    """As strict as a TensorDict."""

    def __init__(self, items: Any, batch_size: Any, device: Any = None) -> None:
        self._items: dict[str, Any] = {}
        self.batch_size, self.device, self.is_locked = torch.Size(batch_size), device, False
        for key, value in items.items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        if self.is_locked:
            raise RuntimeError("locked")
        if isinstance(value, list):
            value = torch.stack(value)
        if value.shape[: len(self.batch_size)] != self.batch_size:
            raise RuntimeError("batch dimension mismatch")
        self._items[key] = value if self.device is None else value.to(self.device)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    get = __getitem__

    def keys(self) -> Any:
        return self._items.keys()

    def lock_(self) -> None:
        self.is_locked = True


class TensorDict(TensorDictBase):
    """The class that its package would have."""


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> TensorDict:
    package = ModuleType("tensordict")
    vars(package)["TensorDict"] = TensorDict
    monkeypatch.setitem(sys.modules, "tensordict", package)
    made = TensorDict({"x": torch.randn(6, 3), "y": torch.zeros(6)}, [6], torch.device("cpu"))
    made.lock_()
    return made


def test_a_tensordict_is_as_large_as_what_is_put_into_it(packed: TensorDict) -> None:
    fewer = samples.take(packed, FIRST_TWO, samples.axes(packed, ["x"], ["y"], 6))
    assert (type(fewer), fewer.batch_size, fewer.is_locked) == (TensorDict, (2,), True)
    turned = tree.replace(packed, {"x": packed["x"].t()})
    assert (turned["x"].shape, turned.batch_size) == ((3, 6), ())
    assert packed["x"].shape == (6, 3)


def test_a_part_of_a_tensordict_can_lie_on_another_device(packed: TensorDict) -> None:
    moved = tree.replace(packed, {"x": packed["x"].to("meta")})
    assert (moved["x"].device.type, moved["y"].device.type) == ("meta", "cpu")


def test_what_stacks_every_list_is_known_to(packed: TensorDict) -> None:
    assert not facts.keeps_lists(packed, ("x",))
    assert facts.keeps_lists({"x": torch.ones(2)}, ("x",))


def test_a_dataset_that_gives_whole_batches_has_no_items_to_break() -> None:
    class Whole:
        def __getitems__(self, indices: Any) -> Any:
            return {"x": torch.ones(len(indices))}

    loader = SimpleNamespace(dataset=Whole(), sampler=range(3), batch_sampler=[[0]])
    assert facts.gives_whole_batches(loader)
    loader.dataset = SimpleNamespace(__getitems__=lambda indices: [torch.ones(1) for _ in indices])
    assert not facts.gives_whole_batches(loader)

"""Arguments of a call are built again with other tensors, in the same containers."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from faultlab.guards.support.rebuilding import NotRebuiltError, mapped

ONE = torch.ones(2)


class Pair(NamedTuple):
    inputs: Any
    mask: Any


class Bag:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Fixed(UserDict[str, Any]):
    """A mapping that can't be constructed from another one."""

    def __init__(self) -> None:
        super().__init__({"x": ONE})


def _twice(tensor: Tensor) -> Tensor:
    return 2 * tensor


@pytest.mark.parametrize(
    "made",
    [
        lambda x: x,
        lambda x: (x, [x, 3]),
        lambda x: {"a": x, "b": None},
        lambda x: OrderedDict(a=x),
        lambda x: UserDict(a=(x,)),
        lambda x: Pair(x, {"deep": [x]}),
    ],
)
def test_every_tensor_is_changed_and_every_container_keeps_its_class(made: Any) -> None:
    found = mapped(made(ONE), _twice)
    assert type(found) is type(made(ONE))
    assert repr(found) == repr(made(2 * ONE))


@pytest.mark.parametrize("value", [Bag(ONE), [Bag(ONE)], Fixed()])
def test_an_object_that_can_not_be_built_again_is_refused_if_a_tensor_in_it_changes(value: Any) -> None:
    with pytest.raises(NotRebuiltError, match=r"the custom class (Bag|Fixed) can't be built again"):
        mapped(value, _twice)


def test_an_object_whose_tensors_stay_is_shared() -> None:
    bag = Bag(ONE)
    other = torch.zeros(2)
    found = mapped({"bag": bag, "x": other}, lambda tensor: 2 * tensor if tensor is other else tensor)
    assert found["bag"] is bag

"""Copies of modules equal those of deepcopy, without its walk through all empty containers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.core.patching import Patches
from faultlab.guards.support.trials import Trial
from faultlab.guards.support.twins import copied
from tests.guards.rig import Healthy


class Odd(nn.Module):
    """Has what modules contain besides layers: shared weights, settings, caches and tensors that are not buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.inner.weight
        self.register_buffer("seen", torch.arange(3.0), persistent=False)
        self.rows = torch.arange(12.0).view(4, 3)
        self.part = self.rows[1:3]
        self.settings = {"sizes": [1, 2], "nested": {"rate": 0.1}}
        self.recent: dict[str, Any] = {}
        self.again = self.recent
        self.me = [self.inner]


def test_a_copy_is_what_deepcopy_makes() -> None:
    module = Healthy()
    module(torch.randn(4, 4)).sum().backward()
    ours, theirs = copied(module, {}), copy.deepcopy(module)
    for one, other in zip(ours.modules(), theirs.modules(), strict=True):
        assert type(one) is type(other)
        assert {name: type(value) for name, value in vars(one).items()} == {
            name: type(value) for name, value in vars(other).items()
        }
    for (name, one), (other_name, other), own in zip(
        ours.named_parameters(), theirs.named_parameters(), module.parameters(), strict=True
    ):
        assert name == other_name
        assert isinstance(one, nn.Parameter)
        assert torch.equal(one, other)
        assert one.grad is other.grad is None
        assert one.data_ptr() != own.data_ptr()
    for (name, one), (_, own) in zip(ours.named_buffers(), module.named_buffers(), strict=True):
        assert torch.equal(one, own), name
        assert one.data_ptr() != own.data_ptr(), name


def test_what_is_the_same_object_in_a_module_is_the_same_in_its_copy() -> None:
    module = Odd()
    made = copied(module, {})
    assert made.tied.weight is made.inner.weight
    assert made.me[0] is made.inner
    assert made.inner is not module.inner
    assert made.again is made.recent
    assert made.recent is not module.recent
    assert made.settings == module.settings
    assert made.settings["nested"] is not module.settings["nested"]
    assert "seen" not in made.state_dict()
    made.rows.zero_()
    assert made.part.abs().sum() == 0, "a view is one of the copy's own tensor"
    assert module.rows.abs().sum() > 0


def test_what_the_memo_names_is_not_copied() -> None:
    module = Odd()
    made = copied(module, {id(module.settings): module.settings})
    assert made.settings is module.settings


def test_a_module_with_a_copy_method_of_its_own_is_asked() -> None:
    class Own(nn.Module):
        def __deepcopy__(self, memo: dict[int, Any]) -> str:
            return "its own way"

    assert copied(nn.ModuleDict({"own": nn.Sequential()}), {}) is not None
    assert copied(Own(), {}) == "its own way"


def test_hooks_that_are_set_come_with_the_copy() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    called: list[int] = []
    module[0].register_forward_hook(lambda *_: called.append(1))
    copied(module, {})(torch.randn(1, 2))
    assert called == [1]


def test_a_twin_of_an_ordinary_module_takes_no_walk_through_its_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[type] = []
    deepcopy = copy.deepcopy

    def counting(value: Any, memo: Any = None) -> Any:
        walked.append(type(value))
        return deepcopy(value, memo)

    monkeypatch.setattr(copy, "deepcopy", counting)
    Trial(Healthy(), trainer=object())
    assert not [kind for kind in walked if issubclass(kind, (nn.Module, nn.Parameter, dict))]


def test_a_wrapper_on_an_instance_wraps_the_copys_own_method() -> None:
    module = Healthy()
    with Patches() as patches:
        module.forward = module.forward  # as a user does who sets methods on the instance
        patches.wrap(module, "forward", lambda forward: lambda *args: forward(*args) * 2)
        made = copied(module, {})
        with torch.no_grad():
            made.head.weight.zero_()
            made.head.bias.fill_(1)
        assert made(torch.randn(2, 4)).eq(2).all()
    assert not module(torch.randn(2, 4)).eq(1).any()


def test_a_function_that_leads_to_weights_leads_to_those_of_the_copy() -> None:
    class Bound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner = nn.Linear(3, 3)

            def count(number: int) -> Any:
                return count(number - 1) if number else inner.weight

            self.weight = lambda: inner.weight
            self.counted = count
            self.method = self.inner.forward
            self.same = math.sqrt

    module = Bound()
    made = copied(module, {})
    for reached in (made.weight(), made.counted(3), made.method.__self__.weight):
        assert reached is made.inner.weight
    assert made.same is math.sqrt
    assert module.weight() is module.inner.weight

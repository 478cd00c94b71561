"""Faults of a model whose class its parts, or other models, have too, as those built of `nn.Sequential`."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.catalogue.injection_points import HeadInput, ModuleOutput
from faultlab.core.patching import Patches
from faultlab.frameworks.torch.seams.forward import head_input, module_output
from faultlab.injection.hooks import Site


class Block(nn.Module):
    """A residual block, which is a Sequential inside."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 3), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.net(x)
        return result


class Own(nn.Sequential):
    """A class of the user's own, whose forward any instance of it runs."""


class Zeroing:
    """An armed fault that replaces each value by zeros and keeps its shape."""

    def __init__(self) -> None:
        self.profile = SimpleNamespace(forward="")
        self.clock = SimpleNamespace(module=None, tried=False)
        self.shapes: list[tuple[int, ...]] = []

    def due(self) -> bool:
        return True

    def map(self, value: Any) -> Any:
        self.shapes.append(tuple(value.shape))
        return torch.zeros_like(value)


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), Block(), Block(), nn.Linear(3, 1))


def _attached(attach: Any, point: Any, model: nn.Module, patches: Patches) -> Any:
    armed: Any = Zeroing()
    attach(point, patches, armed, Site(type(model), model))
    return armed


def test_the_output_of_the_model_is_mapped_and_not_those_of_its_parts(model: nn.Sequential) -> None:
    with Patches() as patches:
        armed = _attached(module_output, ModuleOutput(), model, patches)
        assert not model(torch.randn(5, 2)).any()
        assert armed.shapes == [(5, 1)]


def test_the_head_is_the_last_layer_of_the_model_and_not_that_of_a_part(model: nn.Sequential) -> None:
    with Patches() as patches:
        armed = _attached(head_input, HeadInput(), model, patches)
        for times in (1, 2, 3):
            assert torch.equal(model(torch.randn(5, 2)), model[3].bias.expand(5, 1))  # type: ignore[operator]
            assert armed.shapes == times * [(5, 3)]


@pytest.mark.parametrize(("attach", "point"), [(module_output, ModuleOutput()), (head_input, HeadInput())])
def test_another_model_of_the_same_class_of_torch_is_left_alone(attach: Any, point: Any, model: nn.Sequential) -> None:
    other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with Patches() as patches:
        armed = _attached(attach, point, model, patches)
        other(torch.randn(5, 2))
        assert armed.shapes == []
        model(torch.randn(5, 2))
        assert len(armed.shapes) == 1


def test_a_copy_that_a_guard_tries_has_the_fault_of_the_model(model: nn.Sequential) -> None:
    with Patches() as patches:
        armed = _attached(module_output, ModuleOutput(), model, patches)
        armed.clock.tried = True
        assert not copy.deepcopy(model)(torch.randn(5, 2)).any()


def test_another_instance_of_the_users_own_class_has_the_fault_too() -> None:
    model, other = Own(nn.Linear(2, 3)), Own(nn.Linear(2, 1))
    with Patches() as patches:
        armed = _attached(module_output, ModuleOutput(), model, patches)
        other(torch.randn(5, 2))
        assert armed.shapes == [(5, 1)]


def test_an_exception_in_forward_leaves_the_fault_in_place(model: nn.Sequential) -> None:
    with Patches() as patches:
        armed = _attached(module_output, ModuleOutput(), model, patches)
        with pytest.raises(RuntimeError):
            model(torch.randn(5, 7))
        model(torch.randn(5, 2))
        assert armed.shapes == [(5, 1)]

"""Loads without effect, and evaluations of modules that have neither learnt nor been loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.core.patching import Patches
from faultlab.doctor.whole.effects import EFFECTS
from faultlab.doctor.whole.stages import STAGES
from faultlab.doctor.whole.used_weights import UsedWeights


def _net(norm: bool = False) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 60), nn.BatchNorm1d(60) if norm else nn.ReLU(), nn.Linear(60, 2))


@pytest.fixture
def weights() -> Iterator[UsedWeights]:
    followed = UsedWeights(lambda: "train.py:1")
    with Patches() as patches:
        patches.wrap(nn.Module, "load_state_dict", followed.loading)
        yield followed


def _learn(weights: UsedWeights, module: nn.Module) -> None:
    weights.called(module, True)
    weights.learnt()


def _found(weights: UsedWeights) -> list[tuple[str, str]]:
    seen: dict[str, Any] = {"whole": weights.facts()}
    return [(one.check, one.verdict) for one in [*EFFECTS.run(seen), *STAGES.run(seen)]]


def test_a_new_module_that_is_evaluated_in_place_of_the_loaded_one_is_found(weights: UsedWeights) -> None:
    trained, fresh, loaded = _net(), _net(), _net()
    _learn(weights, trained)
    loaded.load_state_dict(trained.state_dict())
    weights.called(fresh, False)
    assert _found(weights) == [("evaluated weights", "wrong")]


def test_evaluating_the_loaded_module_is_healthy(weights: UsedWeights) -> None:
    trained, loaded = _net(), _net()
    _learn(weights, trained)
    loaded.load_state_dict(trained.state_dict())
    weights.called(loaded, False)
    assert _found(weights) == []


def test_evaluating_an_average_of_the_trained_weights_is_healthy(weights: UsedWeights) -> None:
    trained = _net()
    average = copy.deepcopy(trained)
    _learn(weights, trained)
    weights.called(average, False)
    assert _found(weights) == []


def test_an_untrained_network_that_is_shown_before_the_trained_one_is_healthy(weights: UsedWeights) -> None:
    trained, fresh = _net(), _net()
    _learn(weights, trained)
    weights.called(fresh, False)
    weights.called(trained, False)
    assert _found(weights) == []


def test_names_that_differ_by_a_prefix_load_nothing(weights: UsedWeights) -> None:
    state = {f"module.{name}": value for name, value in _net().state_dict().items()}
    _net().load_state_dict(state, strict=False)
    assert _found(weights) == [("loaded weights", "wrong")]


def test_a_part_of_the_names_of_a_larger_network_is_a_healthy_load(weights: UsedWeights) -> None:
    state = {**_net().state_dict(), "head.weight": torch.zeros(3)}
    _net().load_state_dict(state, strict=False)
    backbone = {name: value for name, value in _net().state_dict().items() if name.startswith("0")}
    _net().load_state_dict(backbone, strict=False)
    assert _found(weights) == []


def test_a_filter_that_keeps_no_name_of_the_file_loads_the_models_own_tensors(weights: UsedWeights) -> None:
    weights.reading(dict)()
    net = _net()
    state = net.state_dict()
    state.update({name: value for name, value in {"module.0.weight": torch.zeros(1)}.items() if name in state})
    net.load_state_dict(state)
    assert _found(weights) == [("loaded weights", "wrong")]


def test_an_average_with_the_batch_statistics_of_the_beginning_is_found(weights: UsedWeights) -> None:
    trained = _net(norm=True)
    average = copy.deepcopy(trained).eval()
    trained(torch.randn(8, 6))
    _learn(weights, trained)
    weights.called(trained.eval(), False)
    assert _found(weights) == []
    weights.called(average, False)
    assert _found(weights) == [("statistics of BatchNorm", "wrong")]


class _Net(nn.Module):
    def __init__(self, size: int, trainer: Any = None) -> None:
        super().__init__()
        self.layer = nn.Linear(4, size)
        self.trainer = trainer


def _second_of_two(weights: UsedWeights, trainer: Any, steps: bool) -> list[tuple[str, str]]:
    first, second = _Net(4, trainer), _Net(8, trainer)
    for net, learns in ((first, True), (second, steps)):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        weights.made(optimizer)
        if learns:
            _learn(weights, net)
            weights.stepped(optimizer)
        weights.called(net, False)
    return _found(weights)


def test_a_second_module_that_a_finished_trainer_does_not_train_is_found(weights: UsedWeights) -> None:
    finished = SimpleNamespace(current_epoch=3, max_epochs=3)
    assert _second_of_two(weights, finished, steps=False) == [("evaluated weights", "wrong")]


def test_a_second_module_whose_optimizer_takes_no_step_gets_attention(weights: UsedWeights) -> None:
    assert _second_of_two(weights, None, steps=False) == [("evaluated weights", "attention")]


def test_a_second_module_that_learns_is_healthy(weights: UsedWeights) -> None:
    assert _second_of_two(weights, SimpleNamespace(current_epoch=3, max_epochs=3), steps=True) == []

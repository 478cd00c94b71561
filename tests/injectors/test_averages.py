"""Averages of the weights: what their failure modes do to an AveragedModel, and to checkpoints of each layout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faultlab.injection.armed_fault import Call
from faultlab.injectors.average import lose_counter, push_away, round_average, save_average_alone, start_late


class Training:
    """A layer that moves by one in each update, and its average, which is updated through an injector."""

    def __init__(self, injector: Callable[[Call, Any], Any], decay: float = 0.9) -> None:
        self.layer = nn.Linear(2, 1)
        nn.init.constant_(self.layer.weight, 1.0)
        self.average = AveragedModel(self.layer, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.ctx: Any = SimpleNamespace(memory={"average": self.average}, step=0, profile=SimpleNamespace(steps=6))
        self._injector = injector

    def update(self, by: float = 1.0) -> float:
        """Move the weights, update the average, and return the average of a weight."""
        with torch.no_grad():
            self.layer.weight += by

        def genuine(updates: int | None = None) -> None:
            if updates is not None:
                self.average.n_averaged.fill_(updates)
            self.average.update_parameters(self.layer)

        self._injector(Call(genuine), self.ctx)
        self.ctx.step += 1
        return float(self.average.module.weight.detach()[0, 0])


def test_an_average_is_pushed_away_by_as_much_as_it_would_have_moved() -> None:
    training = Training(push_away)
    # It would go from 2.0 to 2.1, and from 1.9 to 2.11.
    assert [training.update() for _ in range(3)] == pytest.approx([2.0, 1.9, 1.69])


def test_small_updates_of_an_average_in_bfloat16_are_lost() -> None:
    training = Training(round_average, decay=0.999)
    assert [training.update() for _ in range(4)] == [2.0] * 4
    assert training.average.module.weight.dtype == torch.float32


def test_an_average_that_starts_late_keeps_its_first_values_for_half_of_the_training() -> None:
    training = Training(start_late)
    assert [training.update() for _ in range(4)] == [1.0, 1.0, 1.0, 5.0]


def test_a_restored_average_is_overwritten_and_one_that_begins_is_not() -> None:
    training = Training(lose_counter)
    assert [training.update() for _ in range(2)] == pytest.approx([2.0, 2.1])
    training.ctx.memory["average"] = training.average = copy.deepcopy(training.average)
    assert [training.update() for _ in range(2)] == pytest.approx([4.0, 4.1])


def test_of_two_sets_of_weights_in_a_checkpoint_only_the_average_is_left() -> None:
    lightnings = {"state_dict": {"w": 1.5}, "current_model_state": {"w": 2.0}, "averaging_state": {"n_averaged": 3}}
    assert save_average_alone(lightnings, None) == {  # type: ignore[arg-type]
        **lightnings,
        "current_model_state": {"w": 1.5},
    }
    loops = {"0 w": 2.0, "0 head.module.b": 4.0, "1 n_averaged": 3, "1 module.w": 1.5, "1 module.head.module.b": 3.5}
    assert save_average_alone({"state_dict": loops}, None)["state_dict"] == {  # type: ignore[arg-type]
        **loops,
        "0 w": 1.5,
        "0 head.module.b": 3.5,
    }

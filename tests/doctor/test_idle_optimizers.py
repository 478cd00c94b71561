"""Which optimizer of a loop is idle: one that was never stepped while another was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.doctor.loops.gradients import Gradients


class Wrapper:
    """Steps another optimizer, whose groups it shows as its own."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups


@pytest.fixture
def optimizers() -> list[Any]:
    return [torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1) for _ in range(2)]


def test_the_optimizer_that_is_never_stepped_beside_another_is_idle(optimizers: list[Any]) -> None:
    gradients = Gradients()
    assert not gradients.idle(optimizers[1])
    gradients.after_step(optimizers[0])
    assert gradients.idle(optimizers[1])
    assert gradients.idle(Wrapper(optimizers[1]))


def test_an_optimizer_that_is_stepped_through_its_wrapper_is_not_idle(optimizers: list[Any]) -> None:
    gradients = Gradients()
    gradients.after_step(optimizers[0])
    assert not gradients.idle(optimizers[0])
    assert not gradients.idle(Wrapper(optimizers[0]))
    assert not gradients.idle(None)

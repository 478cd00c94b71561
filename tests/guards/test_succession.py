"""Loops that create their optimizer again, as guards see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import optimizer as of_all
from torch.utils.data import DataLoader

from faultlab import guards
from faultlab.guards import Alarm, watch
from faultlab.guards.watching import Watching
from tests.guards.rig import points

Optimizers = Callable[[nn.Module, int, Any], Any]


def train(
    make: Optimizers,
    *,
    with_loader: bool = True,
    step: Callable[[Any, nn.Module], None] | None = None,
    chosen: Any = None,
    watched: list[Watching] | None = None,
) -> tuple[Watching, list[Any]]:
    """Train three epochs with the optimizer that a function returns for each, under all guards by default."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    loader = DataLoader(points(), batch_size=16, shuffle=True)
    optimizer, used = make(model, 0, None), []
    given = {"guards": chosen} if chosen else {"level": "full"}
    with watch(model, optimizer, loader=loader if with_loader else None, **given) as watching:
        (watched if watched is not None else []).append(watching)
        for epoch in range(3):
            optimizer = make(model, epoch, optimizer)
            used.append(optimizer)
            for inputs, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), labels).backward()
                if step is not None:
                    step(optimizer, model)
                optimizer.step()
        known = list(watching.trainer.optimizers)
    return watching, [known, used]


def again(model: nn.Module, epoch: int, before: Any) -> Any:
    return torch.optim.Adam(model.parameters(), lr=0.02)


def frozen(model: nn.Module, epoch: int, before: Any) -> Any:
    if epoch != 1:
        return before or torch.optim.Adam(model.parameters(), lr=0.02)
    model[0].requires_grad_(False)  # type: ignore[index]
    return torch.optim.SGD(model[2].parameters(), lr=0.05)  # type: ignore[index]


def thawed(model: nn.Module, epoch: int, before: Any) -> Any:
    model[0].requires_grad_(epoch > 0)  # type: ignore[index]
    if epoch > 1:
        return before
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)


@pytest.mark.parametrize("with_loader", [True, False])
@pytest.mark.parametrize("make", [again, frozen, thawed])
def test_an_optimizer_that_is_created_again_is_observed_in_place_of_the_one_before(
    make: Optimizers, with_loader: bool
) -> None:
    watching, (known, used) = train(make, with_loader=with_loader)
    assert known == [used[-1]]
    assert watching.trainer.global_step == 24


def test_a_loop_that_steps_a_new_optimizer_no_more_is_detected() -> None:
    def idle(optimizer: Any, model: nn.Module) -> None:
        if watched[0].trainer.current_epoch == 2:
            optimizer.step = lambda: None

    watched: list[Watching] = []
    with pytest.raises(Alarm) as raised:
        train(again, chosen=guards.StepsTaken(), step=idle, watched=watched)
    assert raised.value.check == "no-step"
    assert "epoch 2" in raised.value.found


def test_an_optimizer_of_inner_steps_does_not_replace_the_one_that_is_watched() -> None:
    def once() -> Iterator[Any]:
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        loader = DataLoader(points(), batch_size=16)
        outer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, outer, guards=guards.StepsTaken(), loader=loader) as watching:
            for inputs, labels in loader:
                inner = torch.optim.SGD(model.parameters(), lr=0.01)
                outer.zero_grad()
                F.cross_entropy(model(inputs), labels).backward()
                inner.step()
                outer.step()
                yield watching.trainer.optimizers == [outer]

    assert all(once())


def test_no_hook_is_left_on_optimizers_at_the_end() -> None:
    _, (_, used) = train(again)
    assert not of_all._global_optimizer_pre_hooks
    assert not any(one._optimizer_step_pre_hooks or one._optimizer_step_post_hooks for one in used)

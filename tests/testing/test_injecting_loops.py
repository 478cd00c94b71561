"""Faults for those who write tests of trainings without Lightning: inject, assert_detected and the mark."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab import assert_detected, guards, inject
from faultlab.errors import UsageError
from faultlab.testing.detecting import NotDetectedError
from faultlab.testing.dry_run import RehearsalError
from faultlab.testing.injecting import NotActivatedError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a block is rehearsed in a copy of the process")


class NotFiniteError(Exception):
    """A check of the user's own."""


def batches(count: int = 4) -> DataLoader[Any]:
    x = torch.randn(8 * count, 3, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True)


def train(model: nn.Module | None = None, *, steps: int = 4, strict: bool = False, watched: Any = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)) if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = batches(steps)
    with guards.watch(model, optimizer, guards=watched) if watched else torch.enable_grad():
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            if strict and not torch.isfinite(loss):
                raise NotFiniteError("the loss is not finite")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_loop_in_the_block_suffers_the_fault_and_what_comes_after_it_does_not() -> None:
    clean = train()
    with inject("loss.nan@step=2") as fault:
        broken = train()
    assert (fault.activations, fault.first_step, fault.step) == (1, 2, 3)
    assert not torch.isfinite(weights(broken)).any()
    assert torch.equal(weights(train()), weights(clean))


def test_the_fault_acts_halfway_through_the_loop_if_its_mode_says_so() -> None:
    with inject("weights.nan") as fault:
        train(steps=6)
    assert fault.first_step == 3


@pytest.mark.parametrize(
    "fault", ["batch.repeated", "gradient.negated", "optimizer.drops-update", "dataset.item-raises"]
)
def test_faults_of_data_gradients_and_optimizers_act_in_a_loop(fault: str) -> None:
    clean = weights(train())
    with inject(fault) as injected:
        try:
            changed = not torch.equal(weights(train()), clean)
        except TypeError:
            changed = True
    assert changed
    assert injected.activations


def test_a_module_from_before_the_block_is_found_where_it_is_called() -> None:
    model = nn.Linear(3, 1)
    with inject("loss.nan@step=1") as fault:
        train(model)
    assert fault.first_step == 1
    assert not torch.isfinite(weights(model)).any()


def test_the_module_to_break_can_be_named() -> None:
    class Head(nn.Linear):
        pass

    def both() -> tuple[nn.Module, nn.Module]:
        return train(steps=6), train(Head(3, 1))

    with inject("weights.nan"):
        long, short = both()
    assert [bool(torch.isfinite(weights(one)).all()) for one in (long, short)] == [False, True]
    with inject("weights.nan", target=Head):
        long, short = both()
    assert [bool(torch.isfinite(weights(one)).all()) for one in (long, short)] == [True, False]
    said = r"trains no torch.*Conv2d; it trains torch.*Sequential, .*Head"
    with pytest.raises(UsageError, match=said), inject("weights.nan", target=nn.Conv2d):
        both()


def test_a_check_in_the_loop_detects_and_luck_does_not() -> None:
    found = assert_detected("loss.nan@step=1", lambda: train(strict=True), within=0)
    assert [(one.kind, one.latency) for one in found.detections] == [("module", 0)]
    with pytest.raises(NotDetectedError, match="no detector detected it"):
        assert_detected("batch.none", train)
    with pytest.raises(NotDetectedError, match="acted 4 times, first in step 0, and no detector"):
        assert_detected("gradient.negated", lambda: train(strict=True))


def test_a_guard_of_watch_is_a_detector_by_its_name() -> None:
    def watched() -> None:
        train(watched=[guards.LossContract(), guards.Gradients()])

    assert_detected("loss.nan@step=1", watched, by=guards.LossContract, within=0)
    with pytest.raises(NotDetectedError, match="Gradients did not detect it"):
        assert_detected("loss.nan@step=1", watched, by=guards.Gradients)


@pytest.mark.detects("loss.nan@step=1", by="module", within=0)
def test_a_marked_test_of_a_loop_passes_if_its_check_detects() -> None:
    train(strict=True)


def test_the_fixture_takes_loops(inject: Callable[..., Any]) -> None:
    with inject("gradient.zero") as fault:
        train()
    assert fault.activations == 4


@pytest.mark.parametrize(
    ("fault", "block", "error", "said"),
    [
        ("loss.nan", lambda: None, UsageError, "trains no LightningModule of yours and steps no optimizer of torch's"),
        ("layer.batchnorm-frozen", train, UsageError, "not applicable to torch.nn.modules.container.Sequential: "),
        ("setting.clip-tiny", train, UsageError, "only Lightning has a Trainer with these arguments"),
        ("loss.nan@step=9", train, NotActivatedError, "its training has 4 steps"),
    ],
)
def test_what_can_not_be_is_an_error_with_the_reason(
    fault: str, block: Callable[[], Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), inject(fault):
        block()


def test_a_loop_that_fails_by_itself_proves_nothing() -> None:
    def failing() -> None:
        train()
        raise NotFiniteError("mine")

    with pytest.raises(RehearsalError, match="fails without any fault: NotFiniteError: mine"):
        assert_detected("loss.nan", failing)


@pytest.mark.nightly(reason="the Trainer of transformers, whose guards are its callbacks; the quick ring has loops")
def test_callbacks_of_the_trainer_are_observed() -> None:
    if find_spec("transformers") is None:
        pytest.skip("the extra `hf` is not installed")
    from tests.frameworks import hf_written

    def tuned() -> None:
        torch.manual_seed(0)
        made = hf_written.trainer()
        made.add_callback(guards.hf(guards=[guards.LossContract(), guards.Gradients()]))
        made.train()

    found = assert_detected("loss.nan@step=3", tuned, by=guards.LossContract, within=0)
    assert {one.name for one in found.detections} == {"LossContract", "Gradients"}, "the training went on"
    with pytest.raises(NotDetectedError, match="Gradients did not detect it"):
        assert_detected("label.shuffled", tuned, by=guards.Gradients)

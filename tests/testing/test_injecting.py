"""Faults for those who write tests: inject, assert_detected and the mark."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import faultlab
from faultlab import assert_detected, inject
from faultlab.errors import UsageError
from faultlab.testing.detecting import NotDetectedError
from faultlab.testing.dry_run import RehearsalError
from faultlab.testing.injecting import Injection, NotActivatedError
from tests.zoo.guards import CriesWolf, FiniteLoss, Stopper

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a block is rehearsed in a copy of the process")
QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


class Line(pl.LightningModule):
    """One layer that learns the sum of its inputs."""

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.strict = strict

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        if self.strict and not torch.isfinite(x).all():
            raise ValueError("the inputs are not finite")
        return F.mse_loss(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(*callbacks: pl.Callback, strict: bool = False, steps: int = 4) -> Line:
    torch.manual_seed(0)
    x = torch.randn(8 * steps, 3)
    model = Line(strict)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", enable_model_summary=False, callbacks=list(callbacks), **QUIET
    )
    trainer.fit(model, DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8))
    return model


def test_the_block_suffers_the_fault_and_what_comes_after_it_does_not() -> None:
    clean = train()
    with inject("loss.nan@step=2") as fault:
        broken = train()
    after = train()
    assert (fault.activations, fault.first_step) == (1, 2)
    assert not torch.isfinite(broken.layer.weight).all()
    assert torch.equal(after.layer.weight, clean.layer.weight)


def test_what_a_guard_raises_comes_out_of_the_block() -> None:
    with pytest.raises(ValueError, match="the loss is not finite"), inject("loss.nan"):
        train(FiniteLoss())


def test_the_block_may_assert_what_only_the_fault_makes_true() -> None:
    with inject("loss.nan"), pytest.raises(ValueError, match="the loss is not finite"):
        train(FiniteLoss())


def test_the_fixture_is_the_function(inject: Callable[..., Injection]) -> None:
    with inject("loss.nan") as fault:
        train()
    # Half-way, as the failure mode itself says.
    assert fault.first_step == 2


def test_a_step_called_by_hand_suffers_it_too() -> None:
    with inject("loss.nan@step=0"):
        x = torch.randn(4, 3)
        assert torch.isnan(Line().training_step((x, x.sum(1, keepdim=True)), 0))


def test_the_block_runs_once_for_whoever_looks_from_inside_the_process() -> None:
    runs: list[int] = []
    with inject("loss.nan"):
        runs.append(1)
        train()
    assert runs == [1]


def test_a_fault_that_never_acts_fails_the_block() -> None:
    with pytest.raises(NotActivatedError, match="its training has 4 steps"), inject("loss.nan@step=99"):
        train()


def test_a_block_that_fails_by_itself_proves_nothing() -> None:
    with pytest.raises(RehearsalError, match="fails without any fault: ValueError: mine"), inject("loss.nan"):
        raise ValueError("mine")


def test_a_block_that_ends_the_process_proves_nothing() -> None:
    with pytest.raises(RehearsalError, match="the process exits inside the block"), inject("loss.nan"):
        os._exit(0)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("loss.nann", "Did you mean 'loss.nan'"),
        ("layer.batchnorm-frozen", "is not applicable to .*Line"),
    ],
)
def test_a_fault_that_can_not_be_is_refused(fault: str, said: str) -> None:
    with pytest.raises(UsageError, match=said), inject(fault):
        train()


def test_a_block_without_a_training_is_refused() -> None:
    with pytest.raises(UsageError, match="trains no LightningModule of yours"), inject("loss.nan"):
        pass


def test_a_class_that_is_not_trained_is_no_target() -> None:
    class Other(pl.LightningModule):
        pass

    with pytest.raises(UsageError, match=r"trains no .*Other; it trains .*Line"), inject("loss.nan", target=Other):
        train()


def test_a_guard_that_detects_in_time_passes() -> None:
    found = assert_detected("loss.nan@step=1", lambda: train(FiniteLoss()), by=FiniteLoss, within=0)
    assert [(alert.name, alert.latency) for alert in found.detections] == [("FiniteLoss", 0)]


def test_every_guard_is_heard_and_the_training_goes_on() -> None:
    with assert_detected("loss.nan@step=1", by="FiniteLoss") as found:
        train(FiniteLoss(), Stopper())
    assert {alert.name for alert in found.detections} == {"FiniteLoss", "Stopper"}
    assert found.step == 3


def test_a_guard_that_misses_it_fails_with_what_everybody_saw() -> None:
    with pytest.raises(NotDetectedError) as raised, assert_detected("gradient.negated", by=FiniteLoss):
        train(FiniteLoss())
    assert "gradient.negated@always acted 4 times, first in step 0, and FiniteLoss did not detect it." in str(
        raised.value
    )
    assert "FiniteLoss (on_train_batch_end 4x): detected nothing" in str(raised.value)


def test_a_guard_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(NotDetectedError, match="Stopper is not among the guards of the training"):
        assert_detected("loss.nan", lambda: train(FiniteLoss()), by=Stopper)


def test_a_guard_that_cries_on_clean_runs_too_has_detected_nothing() -> None:
    with pytest.raises(NotDetectedError, match="It raises the same without the fault: RuntimeError: wolf"):
        assert_detected("loss.nan", lambda: train(CriesWolf()), by=CriesWolf)


def test_a_check_in_the_module_counts_and_luck_does_not() -> None:
    assert_detected("input.nan@step=1", lambda: train(strict=True), by="module")
    with pytest.raises(NotDetectedError, match="no detector detected it"):
        assert_detected("batch.swapped", train)


def test_an_assertion_of_the_block_counts() -> None:
    with assert_detected("loss.nan"):
        assert torch.isfinite(train().layer.weight).all()


@pytest.mark.detects("loss.nan@step=1", by=FiniteLoss, within=1)
def test_a_marked_test_passes_if_its_guard_detects() -> None:
    train(FiniteLoss())


@pytest.mark.xfail(raises=NotDetectedError, strict=True)
@pytest.mark.detects("gradient.negated", by=FiniteLoss)
def test_a_marked_test_fails_if_its_guard_does_not() -> None:
    train(FiniteLoss())


def test_they_are_part_of_the_public_api() -> None:
    assert faultlab.inject is inject
    assert faultlab.assert_detected is assert_detected


class Other(Line):
    """Another module, which inherits its step."""


def fit(model: pl.LightningModule) -> None:
    x = torch.randn(32, 3)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
    pl.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **QUIET).fit(model, loader)


@pytest.mark.parametrize("fault", ["loss.nan@step=1", "batch.swapped", "optimizer.step-skipped"])
def test_a_module_that_is_not_the_target_is_left_alone(fault: str) -> None:
    torch.manual_seed(0)
    model, other = Line(), Other()
    before = other.layer.weight.detach().clone()
    with inject(fault, target=Line), contextlib.suppress(RuntimeError):
        fit(other)
        fit(model)
    assert torch.isfinite(other.layer.weight).all()
    assert not torch.equal(other.layer.weight, before)


def test_an_exception_of_the_block_does_not_hide_that_the_fault_never_acted() -> None:
    def fails() -> None:
        train()
        raise RuntimeError("mine")

    with pytest.raises(NotActivatedError), pytest.raises(RuntimeError), inject("loss.nan@step=99"):
        fails()


def test_checkpoints_that_the_rehearsal_leaves_are_no_detect(tmp_path: Path) -> None:
    def code() -> None:
        checkpoint = pl.callbacks.ModelCheckpoint(dirpath=tmp_path)
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", enable_model_summary=False, logger=False, callbacks=[checkpoint]
        )
        x = torch.randn(32, 3)
        trainer.fit(Line(), DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8))

    with pytest.raises(NotDetectedError):
        assert_detected("gradient.negated", code)


def test_what_is_the_users_code_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with assert_detected("loss.nan"):
        monkeypatch.chdir(tmp_path)
        assert torch.isfinite(train().layer.weight).all()


def test_a_block_that_is_skipped_skips_the_test() -> None:
    with pytest.raises(pytest.skip.Exception, match="not today"), assert_detected("loss.nan"):
        pytest.skip("not today")


@pytest.fixture
def wrong_place() -> Iterator[str]:
    try:
        with inject("loss.nan"):
            yield "inside"
    except UsageError as error:
        yield str(error)


def test_a_fixture_is_no_place_for_a_block(wrong_place: str) -> None:
    assert "inject in the test itself" in wrong_place

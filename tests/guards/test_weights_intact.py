"""WeightsIntact: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging
from torch.nn import functional as F

from faultlab.guards import BatchSchema, WeightsIntact
from tests.guards.rig import Healthy, alarm_of


class Tampered(Healthy):
    """Is changed within one training step, or between two batches."""

    def __init__(self, tamper: Callable[[Any], Any], between: bool = False) -> None:
        super().__init__()
        self.tamper = tamper
        self.between = between

    @torch.no_grad()
    def _maybe(self, batch_idx: int, between: bool) -> None:
        if batch_idx == 3 and self.between is between:
            self.tamper(self)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self._maybe(batch_idx, False)
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._maybe(batch_idx, True)


def spoil(module: Any) -> None:
    module.head.weight[1, 5] = torch.nan


def flip(module: Any) -> None:
    module.body[0].weight[3, 2] = 1e30


def shuffle(module: Any) -> None:
    weight = module.body[0].weight
    weight.copy_(weight.flatten().flip(0).view_as(weight))


def decay(module: Any) -> None:
    module.head.weight.mul_(0.95)


def corrupt(module: Any) -> None:
    for state in module.optimizers().optimizer.state.values():
        state["exp_avg"].mul_(100)


@pytest.mark.parametrize(
    ("tamper", "check", "word"),
    [
        (spoil, "not-finite", "head.weight"),
        (flip, "not-finite", "bit"),
        (shuffle, "changed", "within training_step"),
        (decay, "changed", "head.weight"),
        (lambda module: module.head.reset_parameters(), "changed", "initializes"),
        (lambda module: module.body[1].running_var.fill_(torch.nan), "buffer-not-finite", "running_var"),
        (corrupt, "state-changed", "moment"),
    ],
)
def test_a_change_that_no_optimizer_made_is_detected(tamper: Callable[[Any], Any], check: str, word: str) -> None:
    alarm = alarm_of(WeightsIntact(), Tampered(tamper))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


def test_weights_that_are_drawn_again_between_batches_are_detected() -> None:
    alarm = alarm_of(WeightsIntact(), Tampered(lambda module: module.head.reset_parameters(), between=True))
    assert alarm is not None
    assert alarm.check == "changed"
    assert "between two batches" in str(alarm)


def test_weights_that_are_kept_in_bounds_between_batches_are_allowed() -> None:
    assert alarm_of(WeightsIntact(), Tampered(decay, between=True)) is None


def test_writing_the_same_values_is_not_a_change() -> None:
    assert alarm_of(WeightsIntact(), Tampered(lambda m: m.head.weight.copy_(m.head.weight.clone()))) is None


def test_weight_averaging_is_allowed() -> None:
    callbacks = [WeightsIntact(), StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)]
    assert alarm_of(callbacks, max_epochs=3) is None


def test_infinities_that_a_mask_holds_are_allowed() -> None:
    class Masked(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((3,), -torch.inf))

    assert alarm_of(WeightsIntact(), Masked()) is None


def test_steps_that_lightning_does_not_see_are_allowed() -> None:
    class Direct(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            F.cross_entropy(self(batch[0]), batch[1]).backward()
            optimizer.step()

    assert alarm_of(WeightsIntact(), Direct()) is None


def test_another_guard_does_not_count_as_a_callback_that_changes_weights() -> None:
    """The name BatchSchema contains the letters of an exponential moving average."""
    alarm = alarm_of([BatchSchema(), WeightsIntact(between=0.01)], module=Tampered(shuffle, between=True))
    assert alarm is not None
    assert alarm.check == "changed"


class Embedded(Healthy):
    """Looks up its inputs by their signs."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(16, 4, **arguments)

    def forward(self, inputs: Any) -> Any:
        places = ((inputs > 0).long() * torch.tensor([1, 2, 4, 8])).sum(dim=1)
        return super().forward(self.table(places))


def test_an_embedding_that_keeps_its_rows_short_is_allowed() -> None:
    assert alarm_of(WeightsIntact(), Embedded(max_norm=0.5)) is None


def test_an_embedding_that_something_else_shortens_is_detected() -> None:
    class Shortened(Embedded):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 3:
                with torch.no_grad():
                    self.table.weight.mul_(0.5)
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(WeightsIntact(), Shortened())
    assert alarm is not None
    assert (alarm.check, "table.weight" in alarm.found) == ("changed", True)

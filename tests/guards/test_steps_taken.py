"""StepsTaken: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from faultlab.guards import StepsTaken
from tests.guards.rig import Healthy, alarm_of


class Manual(Healthy):
    """Steps manually, every ``every`` batches."""

    def __init__(self, every: int = 1, lose: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.every = every
        self.lose = lose

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        if batch_idx % self.every == 0 or self.lose:
            optimizer.zero_grad()
        self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
        if batch_idx % self.every == self.every - 1 and not self.lose:
            optimizer.step()


def test_a_step_that_returns_none_is_detected_at_once() -> None:
    class Forgetful(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 3 else loss

    alarm = alarm_of(StepsTaken(), Forgetful())
    assert alarm is not None
    assert alarm.check == "no-backward"
    assert "batch 3" in str(alarm)
    assert alarm_of(StepsTaken(patience=1), Forgetful()) is None


def test_an_optimizer_that_is_never_stepped_is_detected() -> None:
    class Unstepped(Healthy):
        def optimizer_step(self, epoch: Any, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer_closure()

    alarm = alarm_of(StepsTaken(), Unstepped())
    assert alarm is not None
    assert alarm.check == "no-step"


def test_discarded_gradients_do_not_count_as_accumulation() -> None:
    alarm = alarm_of(StepsTaken(), Manual(lose=True))
    assert alarm is not None
    assert alarm.check == "no-step"
    assert "batch 2" in str(alarm)


def test_a_second_step_on_the_same_gradients_is_detected() -> None:
    class Eager(Healthy):
        def optimizer_step(self, epoch: Any, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=optimizer_closure)
            optimizer.step()

    alarm = alarm_of(StepsTaken(), Eager())
    assert alarm is not None
    assert alarm.check == "stepped-twice"


def test_an_optimizer_that_forgets_its_momenta_is_detected() -> None:
    class Amnesiac(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 4:
                self.optimizers().optimizer.state.clear()  # type: ignore[union-attr]
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(StepsTaken(), Amnesiac())
    assert alarm is not None
    assert alarm.check == "state-lost"


def test_accumulation_does_not_count_as_a_missing_step() -> None:
    assert alarm_of(StepsTaken(), accumulate_grad_batches=3) is None
    assert alarm_of(StepsTaken(), Manual(every=4)) is None


def test_optimizers_that_a_module_steps_behind_lightnings_back_are_none_of_its_business() -> None:
    class Direct(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            F.cross_entropy(self(batch[0]), batch[1]).backward()
            optimizer.step()

    assert alarm_of(StepsTaken(), Direct(), max_epochs=4) is None


def test_an_optimizer_without_a_memory_has_lost_none() -> None:
    class Plain(Healthy):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    assert alarm_of(StepsTaken(), Plain()) is None

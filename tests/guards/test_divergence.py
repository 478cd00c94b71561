"""Divergence: a loss that diverges."""

from __future__ import annotations

from typing import Any

from faultlab.guards import Divergence
from tests.guards.rig import Healthy, alarm_of, fit


class Scaled(Healthy):
    """Multiplies its loss in some steps."""

    steps: tuple[int, ...] = ()
    factor = 50.0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * self.factor if self.global_step in self.steps else loss


def test_a_loss_that_runs_away_is_detected_within_its_patience() -> None:
    class Running(Scaled):
        steps = tuple(range(10, 99))

    alarm = alarm_of(Divergence(), module := Running(), max_epochs=4)
    assert alarm is not None
    assert alarm.check == "runs-away"
    assert module.global_step == 13


def test_a_single_hard_batch_is_allowed() -> None:
    class Once(Scaled):
        steps = (10, 11, 13)

    fit(Divergence(), Once())


def test_a_loss_about_zero_is_allowed() -> None:
    class Centred(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) - 0.3

    fit(Divergence(factor=1.5), Centred(), max_epochs=4)

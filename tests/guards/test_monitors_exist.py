"""MonitorsExist: the metrics that callbacks and schedules monitor, and their modes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from faultlab.guards import MonitorsExist
from tests.guards.rig import Healthy, alarm_of, fit


@pytest.mark.parametrize(("name", "mode"), [("val_loss", "max"), ("val_accuracy", "min")])
def test_a_metric_that_is_ranked_from_the_wrong_side_is_detected(name: str, mode: str) -> None:
    alarm = alarm_of([MonitorsExist(), EarlyStopping(name, mode=mode)])
    assert alarm is not None
    assert alarm.check == "wrong-mode"
    assert "EarlyStopping" in alarm.found


def test_the_declared_metric_is_ranked_as_declared() -> None:
    class Odd(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_health", self(batch[0]).mean())

    stopping = EarlyStopping("val_health", mode="min", patience=9)
    assert alarm_of([MonitorsExist("val_health", "max"), stopping], Odd()) is not None
    fit([MonitorsExist(), EarlyStopping("val_health", mode="min", patience=9)], Odd())


def test_a_schedule_is_judged_like_a_callback() -> None:
    class Plateau(Healthy):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}

    alarm = alarm_of(MonitorsExist(), Plateau())
    assert alarm is not None
    assert "ReduceLROnPlateau" in alarm.found


def test_a_metric_that_is_not_logged_is_detected_after_the_first_validation() -> None:
    stopping = EarlyStopping("val/loss", strict=False, check_on_train_epoch_end=True)
    alarm = alarm_of([MonitorsExist(), stopping], module := Healthy(), max_epochs=5)
    assert alarm is not None
    assert alarm.check == "not-logged"
    assert module.global_step == 8


@pytest.mark.parametrize("name", ["val_loss", "val_accuracy"])
def test_callbacks_that_know_their_metric_are_allowed(name: str) -> None:
    mode = "min" if name == "val_loss" else "max"
    fit([MonitorsExist(), EarlyStopping(name, mode=mode, patience=9)])

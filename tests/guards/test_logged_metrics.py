"""LoggedMetrics: metrics that are missing, not finite or constant."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torchmetrics.classification import BinaryRecallAtFixedPrecision

from faultlab.guards import LoggedMetrics
from tests.guards.rig import Healthy, alarm_of, fit


class Reporting(Healthy):
    """Logs the values of a test."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.report(float(self.global_step), batch, batch_idx)

    def report(self, step: float, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)


def test_a_declared_metric_that_is_not_logged_is_detected_after_the_first_validation() -> None:
    alarm = alarm_of(LoggedMetrics(metric="val/loss"), max_epochs=5)
    assert alarm is not None
    assert alarm.check == "missing"
    assert "val_loss" in alarm.found


def test_an_expected_metric_that_is_not_logged_is_detected_without_validation_too() -> None:
    alarm = alarm_of(LoggedMetrics(expected=["lr"]), limit_val_batches=0)
    assert alarm is not None
    assert alarm.check == "missing"
    fit(LoggedMetrics(expected=["train_loss"]), limit_val_batches=0)


def test_a_metric_that_is_logged_no_more_is_detected() -> None:
    class Ceasing(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            if step < 20:
                super().report(step, batch, batch_idx)
            else:
                self.log("val_other", step)

    alarm = alarm_of(LoggedMetrics(), Ceasing(), max_epochs=4)
    assert alarm is not None
    assert alarm.check == "vanished"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_detected(value: float) -> None:
    class Broken(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", torch.tensor(value))

    alarm = alarm_of(LoggedMetrics(), Broken())
    assert alarm is not None
    assert alarm.check == "not-finite"
    assert ("NaN" if math.isnan(value) else "infinite") in alarm.found


def test_a_metric_that_was_finite_has_to_stay_so_and_another_need_not() -> None:
    class Rare(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            self.log("val_recall_of_nobody", math.nan)

    class Ceasing(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            self.log("val_recall", 0.5 if step < 10 else math.nan)

    fit(LoggedMetrics(), Rare())
    alarm = alarm_of(LoggedMetrics(), Ceasing())
    assert alarm is not None
    assert alarm.check == "not-finite"


@pytest.mark.parametrize("name", ["val_threshold", "val/Thresh@0.9", "val_share"])
def test_a_threshold_that_no_prediction_meets_is_no_alarm(name: str) -> None:
    class Fixed(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            measure = BinaryRecallAtFixedPrecision(min_precision=0.9, thresholds=5)
            wrong = step >= 20
            _, threshold = measure(torch.tensor([0.1, 0.9]), torch.tensor([int(wrong), int(not wrong)]))
            assert math.isnan(float(threshold)) == wrong
            self.log(name, threshold)

    alarm = alarm_of(LoggedMetrics(), Fixed(), max_epochs=4)
    assert (alarm and alarm.check) == ("not-finite" if name == "val_share" else None)


def test_a_loss_that_does_not_move_is_detected_after_the_first_epoch() -> None:
    class Stuck(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", 0.731)

    alarm = alarm_of(LoggedMetrics(), module := Stuck(), max_epochs=4)
    assert alarm is not None
    assert alarm.check == "constant"
    assert module.global_step == 8


def test_a_metric_rests_where_the_optimizers_search_does_once_it_has_moved() -> None:
    class Arrived(Reporting):
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), max_iter=1)

        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", max(1.0, 2.0 - step / 4))

    class Stuck(Arrived):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", 0.731)

    fit(LoggedMetrics(), Arrived(), max_epochs=6)
    alarm = alarm_of(LoggedMetrics(), Stuck(), max_epochs=6)
    assert alarm is not None
    assert alarm.check == "constant"


def test_a_share_that_is_the_same_twice_is_allowed_and_one_that_always_is_not() -> None:
    class Coarse(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            self.log("val_accuracy", 0.5)

    fit(LoggedMetrics(), Coarse(), max_epochs=1)
    assert alarm_of(LoggedMetrics(), Coarse(), max_epochs=4) is not None


def test_a_metric_of_every_other_epoch_is_allowed() -> None:
    class Seldom(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            if self.current_epoch % 2 == 0:
                self.log("val_expensive", step)

    fit(LoggedMetrics(metric="val_loss"), Seldom(), max_epochs=5)
    fit(LoggedMetrics(metric="val_loss"), max_epochs=4, check_val_every_n_epoch=2)


class Averaged(Reporting):
    """Also reports the loss of averaged weights, which start only after some steps."""

    before: float | None = None

    def report(self, step: float, batch: Any, batch_idx: int) -> None:
        super().report(step, batch, batch_idx)
        value = self.before if step < 20 else 1 / step
        if value is not None:
            self.log("val_loss_ema", value)


@pytest.mark.parametrize("before", [None, math.nan, 0.7])
def test_an_average_may_begin_late(before: float | None) -> None:
    class Late(Averaged):
        pass

    Late.before = before
    fit(LoggedMetrics(metric="val_loss_ema"), Late(), max_epochs=4)


def test_an_average_that_never_comes_is_detected_at_the_end() -> None:
    class Never(Averaged):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(0, batch, batch_idx)

    alarm = alarm_of(LoggedMetrics(metric="val_loss_ema"), module := Never())
    assert alarm is not None
    assert (alarm.check, module.global_step) == ("missing", 16)


def test_an_average_that_ends_is_detected() -> None:
    class Ending(Averaged):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            if step >= 28:
                self.log("val_loss_ema", math.nan)

    class Began(Ending):
        before = 0.5

    alarm = alarm_of(LoggedMetrics(), Began(), max_epochs=5)
    assert alarm is not None
    assert alarm.check == "not-finite"


def test_a_loss_that_is_never_a_number_is_detected_at_the_end_beside_one_that_is() -> None:
    class Part(Reporting):
        def report(self, step: float, batch: Any, batch_idx: int) -> None:
            super().report(step, batch, batch_idx)
            self.log("val_loss_of_part", math.nan)

    alarm = alarm_of(LoggedMetrics(), module := Part())
    assert alarm is not None
    assert (alarm.check, module.global_step) == ("not-finite", 16)

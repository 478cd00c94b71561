"""LossFalls: a training that gets nowhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import LossFalls
from tests.guards.rig import Healthy, alarm_of, fit, points


class Unlearning(Healthy):
    """Its loss, without what a gradient needs to make it fall."""

    rate = 0.02
    sign = 1.0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.sign * super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=abs(self.rate))
        optimizer.param_groups[0]["lr"] = self.rate
        return optimizer


def shuffled(n: int = 256) -> TensorDataset:
    inputs, labels = points(n).tensors
    return TensorDataset(inputs, labels[torch.randperm(n, generator=torch.Generator().manual_seed(5))])


def test_a_loss_at_the_level_of_guessing_is_noticed_at_the_end_of_the_second_epoch() -> None:
    alarm = alarm_of(LossFalls(early=1), train=DataLoader(shuffled(), 16, shuffle=True), max_epochs=9)
    assert alarm is not None
    assert alarm.check == "at-chance"
    assert "after 32 steps" in alarm.found
    assert "shuffled" in alarm.remedy


def test_a_training_that_takes_its_time_is_judged_at_its_end() -> None:
    alarm = alarm_of(LossFalls(), train=DataLoader(shuffled(), 16, shuffle=True), max_epochs=5)
    assert alarm is not None
    assert "after 80 steps" in alarm.found


def test_a_loss_that_rises_is_noticed_at_the_end_of_an_epoch() -> None:
    class Climbing(Unlearning):
        rate = -0.02

    alarm = alarm_of(LossFalls(), Climbing(), max_epochs=9)
    assert alarm is not None
    assert alarm.check == "rises"
    assert "after 8 steps" in alarm.found


def test_a_loss_that_stays_where_it_is_is_noticed() -> None:
    class Regression(Unlearning):
        rate = 1e-9

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), torch.ones(len(batch[0]), 2))

    data = DataLoader(TensorDataset(points(256).tensors[0]), 16)
    alarm = alarm_of(LossFalls(), Regression(), train=data, limit_val_batches=0)
    assert alarm is not None
    assert alarm.check in ("no-better", "rises")


def test_a_metric_that_is_no_better_than_before_training_is_noticed() -> None:
    class Worse(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_loss", F.cross_entropy(self(-batch[0]), batch[1]))

    alarm = alarm_of(LossFalls(), Worse())
    assert alarm is not None
    assert alarm.check == "metric-no-better"
    assert "val_loss" in alarm.found


def test_a_declared_metric_is_judged_by_its_mode() -> None:
    fit(LossFalls(metric="val_accuracy", mode="max"))
    assert alarm_of(LossFalls(metric="val_accuracy", mode="min")) is not None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.01, 0.04])
def test_a_training_that_learns_is_let_pass(seed: int, rate: float) -> None:
    class Learning(Unlearning):
        pass

    Learning.rate = rate
    train = DataLoader(points(seed=seed), 16, shuffle=True, generator=torch.Generator().manual_seed(seed))
    fit(LossFalls(), Learning(), train=train)


def test_a_model_that_knew_it_all_before_is_let_pass() -> None:
    module = Healthy()
    fit([], module, max_epochs=8)
    fit(LossFalls(), module)


def test_a_negative_loss_may_fall_further() -> None:
    class Likelihood(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) - 5.0

    fit(LossFalls(), Likelihood())


def test_a_short_training_is_not_judged() -> None:
    class Still(Unlearning):
        rate = 0.0

    fit(LossFalls(), Still(), max_steps=5, max_epochs=-1)


class Scripted(Healthy):
    """Logs the losses of validation that it is given, the sanity check's first."""

    course: tuple[float, ...] = ()

    def on_validation_start(self) -> None:
        self.turn = getattr(self, "turn", -1) + 1

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.course[min(self.turn, len(self.course) - 1)])


def test_a_metric_that_comes_slowly_is_judged_at_the_end_of_a_short_training() -> None:
    class Slow(Scripted):
        course = (1.79, 1.78, 1.775, 1.76, 1.74, 1.68)

    fit(LossFalls(metric="val_loss"), Slow(), max_epochs=5)

    class Standing(Scripted):
        course = (1.79, 1.78)

    alarm = alarm_of(LossFalls(metric="val_loss"), Standing(), max_epochs=5)
    assert alarm is not None
    assert "5 epochs" in alarm.found


def test_a_metric_may_pass_through_where_it_was_but_not_end_there() -> None:
    class Passing(Scripted):
        course = (0.883, 0.954, 0.92, 0.883, 0.84)

    fit(LossFalls(early=8), Passing(), max_epochs=4)
    alarm = alarm_of(LossFalls(early=8), Passing(), max_epochs=3)
    assert alarm is not None
    assert alarm.check == "metric-no-better"


class Categorised(TensorDataset):
    """Points with a category that is as frequent as the side they lie on, and a value to be forecast."""

    def __getitem__(self, index: int) -> Any:
        inputs, category = super().__getitem__(index)
        return {"x": inputs, "shop": category, "future_target": inputs.sum() + 0.7 * torch.randn(())}


def test_categories_among_the_inputs_are_no_labels_where_the_labels_are_numbers() -> None:
    class Forecasting(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            falling = 0.3 * 0.99**self.global_step
            return F.mse_loss(self(batch["x"])[:, 0], batch["future_target"]) * 1e-3 + 0.55 + falling

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    fit(LossFalls(), Forecasting(), train=DataLoader(Categorised(*points(256).tensors), 16))

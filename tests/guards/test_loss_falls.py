"""LossFalls: a training that does not learn."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import Alarm, LossFalls, watch
from tests.guards.rig import Healthy, alarm_of, fit, points


class Unlearning(Healthy):
    """Keeps its loss, but without the gradient that would reduce it."""

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


def test_a_loss_at_the_level_of_guessing_is_detected_at_the_end_of_the_second_epoch() -> None:
    alarm = alarm_of(LossFalls(early=1), train=DataLoader(shuffled(), 16, shuffle=True), max_epochs=9)
    assert alarm is not None
    assert alarm.check == "at-chance"
    assert "after 32 steps" in alarm.found
    assert "shuffled" in alarm.remedy


def test_a_training_that_takes_its_time_is_judged_at_its_end() -> None:
    alarm = alarm_of(LossFalls(), train=DataLoader(shuffled(), 16, shuffle=True), max_epochs=5)
    assert alarm is not None
    assert "after 80 steps" in alarm.found


def test_a_loss_that_rises_is_detected_at_the_end_of_an_epoch() -> None:
    class Climbing(Unlearning):
        rate = -0.02

    alarm = alarm_of(LossFalls(), Climbing(), max_epochs=9)
    assert alarm is not None
    assert alarm.check == "rises"
    assert "after 16 steps" in alarm.found


def test_a_loss_that_stays_where_it_is_is_detected() -> None:
    class Regression(Unlearning):
        rate = 1e-9

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), torch.ones(len(batch[0]), 2))

    data = DataLoader(TensorDataset(points(256).tensors[0]), 16)
    alarm = alarm_of(LossFalls(), Regression(), train=data, limit_val_batches=0)
    assert alarm is not None
    assert alarm.check in ("no-better", "rises")


def test_a_metric_that_did_not_improve_is_detected() -> None:
    class Worse(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_loss", F.cross_entropy(self(-batch[0]), batch[1]))

    alarm = alarm_of(LossFalls(), Worse(), max_epochs=3)
    assert alarm is not None
    assert alarm.check == "metric-no-better"
    assert "val_loss" in alarm.found


class Scored(Healthy):
    """Logs its accuracy under another name."""

    name = "val_score"

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log(self.name, (self(batch[0]).argmax(dim=1) == batch[1]).float().mean())


def test_a_declared_metric_is_judged_by_its_mode() -> None:
    fit(LossFalls(metric="val_score", mode="max"), Scored(), max_epochs=3)
    assert alarm_of(LossFalls(metric="val_score", mode="min"), Scored(), max_epochs=3) is not None


def test_a_metric_with_an_unknown_better_side_only_has_to_move() -> None:
    class Accurate(Scored):
        name = "val_accuracy"

    fit(LossFalls(metric="val_score"), Scored(), max_epochs=3)
    fit(LossFalls(metric="val_accuracy"), Accurate(), max_epochs=3)
    fit(LossFalls(metric="val_accuracy", mode="min"), Accurate(), max_epochs=3)

    class Standing(Accurate):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-9)

    module = Standing()
    module.body[1] = nn.Identity()
    alarm = alarm_of(LossFalls(metric="val_accuracy", mode="min"), module, max_epochs=3)
    assert alarm is not None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.01, 0.04])
def test_a_training_that_learns_is_allowed(seed: int, rate: float) -> None:
    class Learning(Unlearning):
        pass

    Learning.rate = rate
    train = DataLoader(points(seed=seed), 16, shuffle=True, generator=torch.Generator().manual_seed(seed))
    fit(LossFalls(), Learning(), train=train)


def test_a_model_that_knew_it_all_before_is_allowed() -> None:
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
    """Logs the validation losses that it is given, that of the sanity check first."""

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
    """Points with a category as frequent as their side, and a value to forecast."""

    def __getitem__(self, index: int) -> Any:
        inputs, category = super().__getitem__(index)
        return {"x": inputs, "shop": category, "future_target": inputs.sum() + 0.7 * torch.randn(())}


def test_categories_among_the_inputs_do_not_count_as_labels_if_the_labels_are_numbers() -> None:
    class Forecasting(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            falling = 0.3 * 0.99**self.global_step
            return F.mse_loss(self(batch["x"])[:, 0], batch["future_target"]) * 1e-3 + 0.55 + falling

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    fit(LossFalls(), Forecasting(), train=DataLoader(Categorised(*points(256).tensors), 16))


class Given(Healthy):
    """Returns a loss that looks like the cross-entropy of the labels, with the values of a test."""

    def __init__(self, course: Callable[[int], float]) -> None:
        super().__init__()
        self.course = course

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * (self.course(self.global_step) / loss.detach())


def test_a_loss_that_passes_the_level_of_guessing_on_its_way_down_is_allowed() -> None:
    fit(LossFalls(), Given(lambda step: 0.7 + 2 * math.exp(-step / 12)), max_epochs=4)
    alarm = alarm_of(LossFalls(), Given(lambda step: 0.7 + 2 * math.exp(-step / 2)), max_epochs=4)
    assert alarm is not None
    assert alarm.check == "at-chance"


def test_a_training_of_a_few_more_than_a_dozen_steps_is_not_judged_by_guessing() -> None:
    fit(LossFalls(), Given(lambda step: 0.7 + 0.001 * (step % 3)), max_steps=21, max_epochs=-1)


def test_losses_that_vary_much_are_not_judged_after_a_few_steps() -> None:
    noise = torch.rand(256, generator=torch.Generator().manual_seed(1)).tolist()

    def course(step: int) -> float:
        return (0.1 + noise[step]) * (1 - 0.002 * step)

    def labelled_by_numbers(spread: float) -> Any:
        class Numbers(Given):
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                loss = F.mse_loss(self(batch[0])[:, 0], batch[0].sum(dim=1))
                return loss * ((1 - spread + spread * self.course(self.global_step)) / loss.detach())

        data = DataLoader(TensorDataset(points(256).tensors[0]), 16)
        return alarm_of(LossFalls(), Numbers(course), train=data, limit_val_batches=0, max_epochs=2)

    assert labelled_by_numbers(1.0) is None
    assert labelled_by_numbers(0.0) is not None


class Views(Healthy):
    """Contrasts two views of each point, and ignores the labels in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 16)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        one, two = (F.normalize(self.net(batch[0] + 0.05 * torch.randn_like(batch[0]))) for _ in range(2))
        return F.cross_entropy(one @ two.T / 0.4, torch.arange(len(one)))

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


def test_a_contrast_of_samples_is_not_taken_for_a_cross_entropy_of_their_labels() -> None:
    inputs = points(512).tensors[0]
    labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
    fit(LossFalls(), Views(), train=DataLoader(TensorDataset(inputs, labels), 16, shuffle=True), max_epochs=8)


class Queued(Healthy):
    """Takes its negatives from a queue, which starts with random vectors until its own embeddings fill it."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", F.normalize(torch.randn(96, 2), dim=1))
        self.at = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        found = F.normalize(self(batch[0]) + 4, dim=1)
        known = found.detach()
        likeness = torch.cat([(found * known).sum(1, keepdim=True), found @ self.table.T.clone()], dim=1)
        self.keep(known)
        return F.cross_entropy(likeness / 0.1, torch.zeros(len(found), dtype=torch.long))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Do nothing, since nothing is learned of the labels."""

    def keep(self, known: torch.Tensor) -> None:
        self.table[self.at : self.at + len(known)] = known
        self.at = (self.at + len(known)) % len(self.table)


def test_a_loss_against_a_queue_is_not_compared_with_its_beginning_when_the_queue_was_empty() -> None:
    assert alarm_of(LossFalls(early=1), Queued(), max_epochs=6) is None


def test_a_rising_loss_is_detected_beside_an_average_of_weights_which_is_not_a_queue() -> None:
    class Shadowed(Unlearning):
        rate = -0.02
        shadow: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shadow", next(self.parameters()).detach().clone())

        def on_train_batch_end(self, *args: Any) -> None:
            self.shadow.lerp_(next(self.parameters()).detach(), 0.1)

    alarm = alarm_of(LossFalls(), Shadowed(), max_epochs=9)
    assert alarm is not None
    assert alarm.check == "rises"


def test_a_metric_that_was_better_may_get_worse_by_overfitting() -> None:
    class Overfitting(Scripted):
        course = (0.7, 0.5, 0.6, 1.2)

    fit(LossFalls(), Overfitting(), max_epochs=3)

    class Worse(Scripted):
        course = (0.7, 0.9, 1.0, 1.2)

    assert alarm_of(LossFalls(), Worse(), max_epochs=3) is not None


def test_a_loss_that_is_the_same_to_the_bit_is_detected() -> None:
    class Same(Given):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = F.mse_loss(self(batch[0])[:, 0], batch[0].sum(dim=1))
            return loss - loss.detach() + 1

    data = DataLoader(TensorDataset(points(256).tensors[0]), 16)
    alarm = alarm_of(LossFalls(), Same(lambda step: 1.0), train=data, limit_val_batches=0, max_epochs=2)
    assert alarm is not None


@pytest.mark.parametrize("resumed", [False, True])
def test_a_loop_that_resumes_at_its_best_is_not_judged(resumed: bool) -> None:
    torch.manual_seed(0)
    inputs, labels = shuffled(64).tensors
    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if resumed:
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    with contextlib.nullcontext() if resumed else pytest.raises(Alarm), watch(model, optimizer, guards=LossFalls()):
        for _ in range(48):
            optimizer.zero_grad()
            outputs = model(inputs)
            (F.cross_entropy(outputs, labels).detach() + 0 * outputs.sum()).backward()
            optimizer.step()

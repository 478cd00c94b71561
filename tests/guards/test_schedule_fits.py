"""ScheduleFits: a schedule's own length, and the turns that it gets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from faultlab.guards import Alarm, ScheduleFits
from faultlab.guards.support.training_view import TrainingView
from tests.guards.rig import Healthy, alarm_of, fit

Make = Callable[[Any], Any]


def _ramp(step: int, *, num_warmup_steps: int = 0, num_training_steps: int) -> float:
    """Return a linear schedule as in transformers: a partial function of the numbers of steps."""
    return min((step + 1) / (num_warmup_steps + 1), 1.0) * max(0.0, 1 - step / num_training_steps)


def sequence(warm_up: int, rest: int) -> Make:
    return lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.01, total_iters=warm_up), schedulers.CosineAnnealingLR(o, rest)], [warm_up]
    )


def ramp(**steps: int) -> Make:
    return lambda o: schedulers.LambdaLR(o, functools.partial(_ramp, **steps))


class Planned(TrainingView):
    """A training of which only the plan is known."""

    def __init__(self, plan: dict[str, Any]) -> None:
        vars(self).update(plan)


def judged(
    make: Make, interval: str = "epoch", *, batches: float = 50, epochs: int = 20, frequency: int = 1, **trainer: Any
) -> str:
    """Return the check that fails at the start of a training of so many epochs and batches, empty if none does."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    config = SimpleNamespace(scheduler=make(optimizer), interval=interval, frequency=frequency, reduce_on_plateau=False)
    planned = {
        "num_training_batches": batches, "max_epochs": epochs, "max_steps": -1, "accumulate_grad_batches": 1,
        "current_epoch": 0, "lr_scheduler_configs": [config], "train_dataloader": range(int(min(batches, 50))),
    }  # fmt: skip
    try:
        ScheduleFits().on_train_start(Planned({**planned, **trainer}), Healthy())
    except Alarm as alarm:
        return alarm.check
    return ""


@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=1000),
        lambda o: schedulers.CosineAnnealingLR(o, 1000),
        lambda o: schedulers.LinearLR(o, 1.0, 0.01, total_iters=1000),
        lambda o: schedulers.PolynomialLR(o, 1000),
        lambda o: schedulers.MultiStepLR(o, [500, 750]),
        lambda o: schedulers.StepLR(o, 250),
        lambda o: schedulers.CyclicLR(o, 0.01, 0.1),
        lambda o: schedulers.LinearLR(o, 0.01, total_iters=400),
        lambda o: schedulers.ChainedScheduler([schedulers.CosineAnnealingLR(o, 1000)]),
        sequence(100, 900),
        ramp(num_warmup_steps=100, num_training_steps=1000),
    ],
)
def test_a_schedule_reckoned_in_steps_and_stepped_by_epochs_is_detected(make: Make) -> None:
    assert judged(make) == "stepped-by-epoch"
    assert judged(make, "step") == ""


@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedulers.CosineAnnealingLR(o, 20),
        lambda o: schedulers.LinearLR(o, 1.0, 0.01, total_iters=20),
        lambda o: schedulers.PolynomialLR(o, 20),
        lambda o: schedulers.MultiStepLR(o, [10, 15]),
        sequence(5, 15),
        ramp(num_training_steps=20),
    ],
)
def test_a_schedule_reckoned_in_epochs_and_stepped_by_steps_is_detected(make: Make) -> None:
    assert judged(make, "step") == "stepped-by-step"
    assert judged(make) == ""


def test_a_schedule_in_batches_is_detected_if_several_make_a_step() -> None:
    def cosine(optimizer: Any) -> Any:
        return schedulers.CosineAnnealingLR(optimizer, 1000)

    assert judged(cosine, "step", accumulate_grad_batches=4) == "stepped-too-seldom"
    assert judged(cosine, "step", frequency=2) == "stepped-too-seldom"
    assert judged(lambda o: schedulers.CosineAnnealingLR(o, 250), "step", accumulate_grad_batches=4) == ""


@pytest.mark.parametrize(
    ("make", "interval", "trainer"),
    [
        # Short trials of long trainings.
        (lambda o: schedulers.CosineAnnealingLR(o, 90), "epoch", {"epochs": 2}),
        (lambda o: schedulers.MultiStepLR(o, [30, 60, 90]), "epoch", {"epochs": 2, "batches": 64}),
        (lambda o: schedulers.StepLR(o, 30), "epoch", {"epochs": 2, "batches": 15}),
        (sequence(5, 95), "epoch", {"epochs": 3}),
        (lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=20_000), "step", {"epochs": 2}),
        (lambda o: schedulers.CosineAnnealingLR(o, 20_000), "step", {"batches": 100, "train_dataloader": range(1000)}),
        # A warm-up of a few steps, and periodic cosines on purpose.
        (lambda o: schedulers.LinearLR(o, 0.1, total_iters=20), "step", {}),
        (lambda o: schedulers.CosineAnnealingLR(o, 100), "step", {}),
        (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 20), "step", {}),
        (lambda o: schedulers.CyclicLR(o, 0.01, 0.1, step_size_up=8), "epoch", {}),
        # One batch per epoch, unknown lengths, and functions of the user's own.
        (lambda o: schedulers.CosineAnnealingLR(o, 20), "epoch", {"batches": 1}),
        (lambda o: schedulers.CosineAnnealingLR(o, 1000), "epoch", {"batches": float("inf")}),
        (lambda o: schedulers.CosineAnnealingLR(o, 1000), "epoch", {"epochs": -1}),
        (lambda o: schedulers.LambdaLR(o, lambda step: 1 / (step + 1)), "epoch", {}),
        (lambda o: schedulers.CosineAnnealingLR(o, 40), "epoch", {}),
    ],
)
def test_schedules_that_fit_are_allowed(make: Make, interval: str, trainer: Any) -> None:
    assert judged(make, interval, **trainer) == ""


class Cycle(Healthy):
    """Computes one cycle for the whole training, and is stepped as its argument asks for it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def schedule(self, optimizer: Any) -> Any:
        return schedulers.OneCycleLR(optimizer, 0.02, total_steps=int(self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters())
        return [optimizer], [{"scheduler": self.schedule(optimizer), **self.settings}]


def test_a_cycle_without_its_interval_is_detected_when_training_begins() -> None:
    alarm = alarm_of(ScheduleFits(), Cycle(), max_epochs=4)
    assert alarm is not None
    assert "its length is 32" in alarm.found
    assert "interval" in alarm.remedy
    fit(ScheduleFits(), Cycle(interval="step"), max_epochs=4)


def test_an_interval_beside_the_optimizer_is_detected() -> None:
    class Misplaced(Cycle):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            return {"optimizer": optimizer, "lr_scheduler": schedulers.StepLR(optimizer, 4), "interval": "step"}

    class Placed(Cycle):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            scheduler = schedulers.StepLR(optimizer, 4)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    alarm = alarm_of(ScheduleFits(), Misplaced())
    assert alarm is not None
    assert alarm.check == "misplaced-key"
    fit(ScheduleFits(), Placed())


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_train_batch_end"])
def test_under_manual_optimisation_the_turns_of_the_first_epoch_are_counted(hook: str) -> None:
    class ByHand(Cycle):
        automatic_optimization = False

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def turn(self: Any, *args: Any) -> None:
        self.lr_schedulers().step()

    setattr(ByHand, hook, turn)
    alarm = alarm_of(ScheduleFits(), ByHand(), max_epochs=5)
    assert (alarm.check if alarm else "") == ("stepped-by-epoch" if hook == "on_train_epoch_end" else "")

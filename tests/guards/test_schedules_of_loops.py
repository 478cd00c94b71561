"""ScheduleFits in loops of the user's own, which do not say how long they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, LearningRate, ScheduleFits, watch
from tests.guards.rig import Healthy, alarm_of, points

Make = Callable[[Any], Any]
BATCHES = 16


def cosine(turns: int) -> Make:
    return lambda optimizer: schedulers.CosineAnnealingLR(optimizer, turns)


def ramp(turns: int) -> Make:
    return lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / turns))


def loop(make: Make, *, times: int = 0, by_epoch: bool = False, epochs: int = 4, **options: Any) -> str:
    """Train in a loop that steps its schedule so many times for a batch, and return the check that fails, if any."""
    torch.manual_seed(0)
    model = Healthy()
    loader = DataLoader(points(8 * BATCHES), batch_size=8, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    try:
        with watch(model, optimizer, guards=[ScheduleFits(), LearningRate()], loader=loader, **options):
            scheduler = make(optimizer)
            for _ in range(epochs):
                for inputs, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
                    for _ in range(times):
                        scheduler.step()
                if by_epoch:
                    scheduler.step()
    except Alarm as alarm:
        return alarm.check
    return ""


@pytest.mark.parametrize("options", [{}, {"max_epochs": 4}])
@pytest.mark.parametrize("make", [cosine(BATCHES), cosine(4 * BATCHES), ramp(40)])
def test_a_schedule_reckoned_in_steps_and_stepped_by_epochs_is_detected(make: Make, options: Any) -> None:
    assert loop(make, by_epoch=True, **options) == "stepped-by-epoch"


def test_a_schedule_reckoned_in_epochs_and_stepped_by_steps_is_detected() -> None:
    assert loop(cosine(6), times=1, epochs=6) == "stepped-by-step"


def test_a_schedule_that_is_stepped_for_each_process_is_detected() -> None:
    assert loop(cosine(4 * BATCHES), times=4) == "stepped-repeatedly"


def test_a_schedule_that_is_stepped_with_each_of_several_steps_for_a_batch_is_allowed() -> None:
    torch.manual_seed(0)
    model, loader = Healthy(), DataLoader(points(128), batch_size=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = cosine(4 * 3 * BATCHES)(optimizer)
    with watch(model, optimizer, guards=ScheduleFits(), loader=loader):
        for _ in range(4):
            for inputs, labels in loader:
                for _ in range(3):
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
                    scheduler.step()


@pytest.mark.parametrize(
    "how",
    [
        {"make": cosine(4), "by_epoch": True},
        {"make": cosine(4 * BATCHES), "times": 1},
        {"make": cosine(100), "by_epoch": True},
        {"make": ramp(3), "by_epoch": True},
        {"make": ramp(20), "by_epoch": True},
        {"make": ramp(40), "times": 1},
        {"make": lambda o: schedulers.LambdaLR(o, lambda step: [1.0, 0.5, 0.2, 0.1, 0.1][step]), "by_epoch": True},
        {"make": lambda o: schedulers.ReduceLROnPlateau(o), "epochs": 1},
        {"make": lambda o: schedulers.StepLR(o, 30), "by_epoch": True},
    ],
)
def test_schedules_that_fit_are_allowed(how: dict[str, Any]) -> None:
    assert loop(**how) == ""
    assert loop(**how, max_epochs=how.get("epochs", 4)) == ""


def test_a_warm_up_by_function_that_lightning_steps_by_epochs_is_detected() -> None:
    class Warming(Healthy):
        interval = "epoch"

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            return [optimizer], [{"scheduler": ramp(30)(optimizer), "interval": self.interval}]

    module, loader = Warming(), DataLoader(points(8 * BATCHES), batch_size=8, shuffle=True)
    alarm = alarm_of(ScheduleFits(), module, loader, max_epochs=3)
    assert alarm is not None
    assert (alarm.check, "its warm-up takes 29" in alarm.found) == ("stepped-by-epoch", True), alarm.found
    module.interval = "step"
    assert alarm_of(ScheduleFits(), module, loader, max_epochs=3) is None


def test_the_steps_of_schedulers_are_restored() -> None:
    classes = (schedulers.LRScheduler, schedulers.SequentialLR, schedulers.ReduceLROnPlateau)
    before = [cls.step for cls in classes]
    loop(cosine(4), by_epoch=True)
    assert [cls.step for cls in classes] == before


def resumed(make: Make, taken: int) -> str:
    """Resume a training whose optimizer has taken steps, and return the check that fails, if any."""
    torch.manual_seed(0)
    model = Healthy()
    inputs, labels = points(8 * BATCHES).tensors
    loader = DataLoader(points(8 * BATCHES), batch_size=8, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(taken):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.01
    scheduler = make(optimizer)
    try:
        with watch(model, optimizer, guards=ScheduleFits(), loader=loader):
            for batch in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(batch[0]), batch[1]).backward()
                optimizer.step()
                scheduler.step()
    except Alarm as alarm:
        return alarm.check
    return ""


def at(turn: int) -> Make:
    return lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 40), turn - 1)


def in_sequence(optimizer: Any) -> Any:
    first = schedulers.LinearLR(optimizer, 0.1, total_iters=16)
    scheduler = schedulers.SequentialLR(optimizer, [first, schedulers.CosineAnnealingLR(optimizer, 80)], [16])
    optimizer.zero_grad()
    for _ in range(20):
        optimizer.step()  # without gradients it counts no step
        scheduler.step()
    return scheduler


@pytest.mark.parametrize(("turn", "taken"), [(2, 32), (1, 16), (10, 40)])
def test_a_schedule_of_steps_that_is_resumed_at_the_epoch_is_detected(turn: int, taken: int) -> None:
    assert resumed(at(turn), taken) == "resumed-elsewhere"


@pytest.mark.parametrize(
    ("make", "taken"),
    [(at(32), 32), (at(30), 32), (at(0), 32), (at(2), 2), (cosine(64), 32), (in_sequence, 20)],
)
def test_schedules_that_are_resumed_where_their_optimizer_is_or_begin_anew_are_allowed(make: Make, taken: int) -> None:
    assert resumed(make, taken) == ""

"""TrainingView: guards in a loop that is neither Lightning's nor attached by `attach`."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from faultlab import guards
from faultlab.guards import Alarm, Guard
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.training_view import TrainingView
from tests.guards.rig import fit, points

Batch = list[torch.Tensor]


class Tiny(TrainingView):
    """The view of another trainer that knows only a count of steps, its optimizer and its metrics."""

    def __init__(self, optimizer: Optimizer | None) -> None:
        self.optimizers = None if optimizer is None else [optimizer]
        self.callback_metrics: dict[str, Any] = {}


class Loop:
    """A trainer of forty lines: a network, an optimizer, guards. Tests break it by overriding its parts."""

    def __init__(self, *watching: Guard, rate: float = 0.02) -> None:
        torch.manual_seed(0)
        self.guards = watching
        self.network: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        self.optimizer: Any = self.configure(rate)
        self.view: TrainingView = Tiny(self.optimizer)

    def configure(self, rate: float) -> Optimizer:
        return Adam(self.network.parameters(), lr=rate)

    def call(self, hook: str, *args: Any) -> None:
        for guard in self.guards:
            getattr(guard, hook)(self.view, self.network, *args)

    def batch(self, number: int) -> Batch:
        inputs, labels = points(512).tensors
        return [inputs[16 * number : 16 * number + 16], labels[16 * number : 16 * number + 16]]

    def loss(self, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        self.optimizer.step()

    def train(self, steps: int = 32) -> None:
        self.call("on_fit_start")
        self.call("on_train_start")
        self.call("on_train_epoch_start")
        for number in range(steps):
            batch = self.batch(number)
            self.call("on_train_batch_start", batch, number)
            self.optimizer.zero_grad()
            loss = self.loss(batch)
            self.call("on_before_backward", loss)
            self.backward(loss)
            self.call("on_after_backward")
            self.call("on_before_optimizer_step", self.optimizer)
            self.step()
            self.view.global_step += 1
            self.call("on_train_batch_end", {"loss": loss.detach()}, batch, number)
        self.call("on_train_epoch_end")
        self.call("on_train_end")
        self.call("on_fit_end")


class Unbounded(Loop):
    def loss(self, batch: Batch) -> torch.Tensor:
        return super().loss(batch) * (float("nan") if self.view.global_step == 3 else 1.0)


class Cut(Loop):
    def backward(self, loss: torch.Tensor) -> None:
        super().backward(loss)
        for parameter in self.network.parameters():
            parameter.grad = None


class Climbing(Loop):
    def loss(self, batch: Batch) -> torch.Tensor:
        return super().loss(batch) * (1 + self.view.global_step)


class Narrowed(Loop):
    def batch(self, number: int) -> Batch:
        inputs, labels = super().batch(number)
        return [inputs.double() if number == 3 else inputs, labels]


class Still(Loop):
    def step(self) -> None:
        before = [parameter.detach().clone() for parameter in self.network.parameters()]
        super().step()
        with torch.no_grad():
            for parameter, value in zip(self.network.parameters(), before):
                parameter.copy_(value)


class Evaluating(Loop):
    def configure(self, rate: float) -> Optimizer:
        self.network.eval()
        return super().configure(rate)


class Headless(Loop):
    def configure(self, rate: float) -> Optimizer:
        return Adam(self.network[0].parameters(), lr=rate)  # type: ignore[index]


class Halted(Loop):
    def configure(self, rate: float) -> Optimizer:
        return SGD(self.network.parameters(), lr=0.0)


class Huge(Loop):
    def configure(self, rate: float) -> Optimizer:
        return Adam(self.network.parameters(), lr=5.0)


class Lazy(Loop):
    def train(self, steps: int = 32) -> None:
        self.guards = tuple(_without_steps(guard) for guard in self.guards)
        super().train(steps)


def _without_steps(guard: Guard) -> Guard:
    guard.on_before_optimizer_step = lambda *args: None  # type: ignore[method-assign]
    return guard


class Repeating(Loop):
    def batch(self, number: int) -> Batch:
        return super().batch(0)


class Piling(Loop):
    def train(self, steps: int = 32) -> None:
        self.optimizer.zero_grad = lambda: None
        super().train(steps)


class Tampered(Loop):
    def batch(self, number: int) -> Batch:
        if number == 3:
            with torch.no_grad():
                next(self.network.parameters()).mul_(100)
        return super().batch(number)


CAUGHT: list[tuple[Callable[[], Guard], type[Loop], str]] = [
    (guards.LossContract, Unbounded, "not-finite"),
    (guards.Gradients, Cut, "missing"),
    (guards.LossFalls, Climbing, "rises"),
    (guards.BatchSchema, Narrowed, "dtype"),
    (guards.ParametersMove, Still, "unchanged"),
    (guards.Modes, Evaluating, "eval-before-training"),
    (guards.OptimizerCoverage, Headless, "left-out"),
    (guards.LearningRate, Halted, "zero"),
    (guards.OptimizerSettings, Huge, "rate-huge"),
    (guards.StepsTaken, Lazy, "no-step"),
    (guards.BatchesDiffer, Repeating, "repeated-batch"),
    (guards.GradientsCleared, Piling, "not-cleared"),
    (guards.WeightsIntact, Tampered, "changed"),
]


@pytest.mark.parametrize(("make", "loop", "check"), CAUGHT, ids=lambda value: getattr(value, "__name__", None))
def test_a_guard_detects_in_another_loop_what_it_is_for(
    make: Callable[[], Guard], loop: type[Loop], check: str
) -> None:
    with pytest.raises(Alarm) as caught:
        loop(make()).train()
    assert caught.value.check == check


@pytest.mark.parametrize("level", guards.LEVELS)
def test_a_healthy_loop_of_another_trainer_is_allowed_with_the_same_weights(level: guards.Level) -> None:
    watched = Loop(*guards.all(level))
    watched.train()
    random = torch.get_rng_state()
    (bare := Loop()).train()
    assert all(map(torch.equal, watched.network.parameters(), bare.network.parameters()))
    assert torch.equal(random, torch.get_rng_state())


class Mute(Loop):
    """A view that knows nothing."""

    def __init__(self, *watching: Guard) -> None:
        super().__init__(*watching)
        self.view = Tiny(None)
        self.view.callback_metrics = None


@pytest.mark.parametrize(
    ("make", "unknown"),
    [
        (guards.OptimizerCoverage, "the optimizers are not known"),
        (guards.OptimizerSettings, "the optimizers are not known"),
        (guards.LoggedMetrics, "the loop shows no metrics"),
        (guards.ScheduleFits, "the schedules are not known"),
        (guards.CheckpointsReload, "the folder of the checkpoints is not known"),
        (guards.RunEnded, "the planned length of the loop is not known, so only exits are judged"),
        (guards.ParametersMove, "no optimizer holds a parameter whose values can be read"),
        (guards.WeightsIntact, "no optimizer holds a parameter whose values can be read"),
        (guards.SamplesIndependent, "the loader's batch size is not known"),
    ],
)
def test_a_guard_reports_that_it_looked_at_nothing_if_the_view_knows_nothing(
    make: Callable[[], Guard], unknown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    Mute(guard := make()).train()
    assert guard.report().startswith(f"{type(guard).__name__} looked 0 times, and skipped looks: {unknown}")
    assert [entry.message for entry in caplog.records] == [guard.report()]


class Asking(Guard):
    """Records the arguments of its hooks."""

    checks = {"none": "nothing"}

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self.given.append(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.given.append(trainer)


def test_a_hook_that_asks_for_a_view_gets_that_of_its_trainer_and_any_other_the_trainer() -> None:
    trainer = fit(guard := Asking())
    assert guard.given == [view_of(trainer), trainer]
    assert view_of(view_of(trainer)) is view_of(trainer)


def test_a_view_returns_what_the_trainer_returns() -> None:
    seen: dict[str, Any] = {}

    class Comparing(Guard):
        checks = {"none": "nothing"}

        def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
            real = pl_module.trainer
            names = [name for name in vars(TrainingView)["__annotations__"] if hasattr(real, name)]
            seen.update({name: (getattr(trainer, name), getattr(real, name)) for name in names})

    fit(Comparing(), accumulate_grad_batches=2, max_epochs=3)
    assert {"global_step", "optimizers", "callbacks", "num_val_batches", "accumulate_grad_batches"} <= seen.keys()
    assert {name: ours for name, (ours, _) in seen.items()} == {name: theirs for name, (_, theirs) in seen.items()}
    assert seen["accumulate_grad_batches"] == (2, 2)


def test_a_view_holds_no_trainer_and_a_guard_takes_none_into_its_copies() -> None:
    trainer = fit(guard := Asking())
    guard.given.clear()
    assert b"Trainer" not in pickle.dumps(guard)
    assert vars(copy.deepcopy(guard))["_view"] is None
    assert not any(value is trainer for value in vars(view_of(trainer)).values())


def test_a_guard_lets_go_of_another_loop_when_it_ends() -> None:
    loop = Loop(guard := guards.OptimizerCoverage())
    loop.train()
    alive = weakref.ref(loop.view)
    del loop
    gc.collect()
    assert alive() is None
    assert isinstance(guard, pl.Callback)

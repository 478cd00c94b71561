"""Faults of arguments, callbacks and rates in one process: what they reach, and who still watches."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.optim import lr_scheduler

from faultlab.core.fault import Fault
from faultlab.core.part_facts import Part
from faultlab.core.target_profile import TargetProfile
from faultlab.detectors.guard_observer import Observer
from faultlab.detectors.warnings_shown import Warnings
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.resume import interruption
from faultlab.frameworks.lightning.seams.callbacks import own_hooks
from faultlab.frameworks.torch.optimizers import scale_rates
from faultlab.injection import registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site, attach
from faultlab.injection.watchers import release
from tests.injection.test_detach import TRAINER
from tests.zoo import equipped

pytestmark = pytest.mark.usefixtures("one_thread")


def _armed(fault: str, profile: TargetProfile | None = None) -> Armed:
    parsed = Fault.parse(fault)
    registered = registry.load()[parsed.mode]
    return Armed(registered.mode.complete(parsed, 12), registered, LightningClock(), profile or TargetProfile())


def _watched(
    fault: str | None, callback: Any, profile: TargetProfile | None = None, **settings: Any
) -> tuple[Any, Observer]:
    """Trains with the callback under observation, and the fault in the Trainer's arguments."""
    torch.manual_seed(0)
    module, loaders, arguments = equipped.stopped()
    clock = LightningClock()
    observer = Observer(clock, Warnings(clock), own_hooks)
    observer.observe(callback, "guard")
    arguments = {
        **TRAINER,
        **arguments,
        "limit_train_batches": 1.0,
        "max_epochs": 2,
        "callbacks": [callback],
        **settings,
    }
    if fault is None:
        trainer = pl.Trainer(**arguments)
    else:
        armed = _armed(fault, profile)
        with attach(armed, Site(type(None))):
            trainer = pl.Trainer(**arguments)
        assert armed.activations == 1
    trainer.fit(module, *loaders)
    return trainer, observer


def _stopping(**more: Any) -> Any:
    return pl.callbacks.EarlyStopping("val_loss", check_on_train_epoch_end=False, **more)


def test_a_callback_that_is_only_watched_stops_nothing_and_is_noted() -> None:
    trainer, observer = _watched(None, _stopping(patience=3))
    assert trainer.global_step == 12
    assert [alert.reason for alert in observer.alerts] == ["patience_exhausted"]


@pytest.mark.parametrize("fault", ["setting.patience-wrong", "metric.wrong-mode"])
def test_a_callback_that_a_fault_tampers_with_really_stops_and_is_no_detection(fault: str) -> None:
    callback = _stopping(patience=3)
    trainer, observer = _watched(fault, callback, TargetProfile(monitors={"EarlyStopping": "val_loss"}))
    assert trainer.global_step < 10
    assert callback.stopping_reason.name == "PATIENCE_EXHAUSTED"
    assert observer.alerts == []


def test_a_callback_whose_key_is_gone_stops_nothing_and_says_nothing() -> None:
    trainer, observer = _watched("metric.not-strict", _stopping(patience=1))
    assert trainer.global_step == 12
    assert observer.alerts == []


def test_another_fault_of_the_trainers_arguments_leaves_callbacks_watched() -> None:
    _, observer = _watched("setting.limit-validation-zero", pl.callbacks.EarlyStopping("val_loss"))
    assert ["not available" in alert.message for alert in observer.alerts] == [True]


def test_a_wrong_mode_is_what_the_constructor_would_have_made_of_it() -> None:
    found = [
        pl.callbacks.EarlyStopping("a", mode="min", min_delta=0.1),
        pl.callbacks.ModelCheckpoint(monitor="a", mode="max"),
        pl.callbacks.ModelCheckpoint(),
    ]
    meant = [
        pl.callbacks.EarlyStopping("a", mode="max", min_delta=0.1),
        pl.callbacks.ModelCheckpoint(monitor="a", mode="min"),
        pl.callbacks.ModelCheckpoint(),
    ]
    armed = _armed("metric.wrong-mode", TargetProfile(monitors={"EarlyStopping": "a", "ModelCheckpoint": "a"}))
    with attach(armed, Site(type(None))):
        pl.Trainer(**{**TRAINER, "enable_checkpointing": True}, callbacks=found)
    assert repr([vars(callback) for callback in found]) == repr([vars(callback) for callback in meant])


def test_a_released_callback_has_its_own_hooks_again() -> None:
    class Guard(pl.Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            raise AssertionError

    guard = Guard()
    own = guard.on_fit_end = lambda trainer, pl_module: None  # type: ignore[method-assign]
    clock = LightningClock()
    Observer(clock, Warnings(clock), own_hooks).observe(guard, "guard")
    assert guard.on_fit_end is not own
    release(guard)
    assert vars(guard) == {"on_fit_end": own}


def _optimizer(**groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], **{"lr": 0.1, **groups})


SCHEDULERS = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=2),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 8),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 4),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer, 0.1), lr_scheduler.StepLR(optimizer, 2)], [3]
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_rate_is_scaled_for_the_whole_course_of_its_scheduler(name: str) -> None:
    def course(factor: float) -> list[float]:
        optimizer = _optimizer()
        scheduler = SCHEDULERS[name](optimizer)
        scale_rates(([optimizer], [{"scheduler": scheduler}]), factor)
        rates = []
        for _ in range(6):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        return rates

    whole = course(1.0)
    assert max(whole) > 0
    assert course(0.5) == pytest.approx([rate / 2 for rate in whole])
    assert course(0.0) == [0.0] * 6


def test_a_rate_that_is_a_tensor_or_comes_twice_is_scaled_once() -> None:
    optimizer = _optimizer(lr=torch.tensor(0.1))
    scale_rates([optimizer, optimizer], -1.0)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(-0.1)


def test_a_hidden_size_is_an_argument_that_is_the_width_of_a_layer_before_the_last() -> None:
    parts = {"a": Part("linear", width=16), "b": Part("linear", width=3)}
    arguments = {"hidden": 16, "classes": 3, "batch_size": 16, "patience": 16, "deep": True, "rate": 16.0, "width": 16}
    assert TargetProfile(parts=parts, arguments=arguments).hidden_sizes == ["hidden", "width"]


@pytest.mark.parametrize("fault", ["metric.wrong-mode", "checkpoint.wrong-best"])
def test_a_callback_that_two_trainers_are_built_with_is_inverted_once(fault: str) -> None:
    callback = pl.callbacks.ModelCheckpoint(monitor="val_loss")
    armed = _armed(fault, TargetProfile(monitors={"ModelCheckpoint": "val_loss"}))
    with attach(armed, Site(type(None))):
        for _ in range(2):
            pl.Trainer(**{**TRAINER, "enable_checkpointing": True}, callbacks=[callback])
    assert callback.mode == "max"


def test_another_precision_takes_the_place_of_a_plugin_that_stood_for_one() -> None:
    plugin = pl.plugins.MixedPrecision("bf16-mixed", "cpu")
    with attach(_armed("precision.bfloat"), Site(type(None))):
        trainer = pl.Trainer(**TRAINER, plugins=[plugin])
    assert trainer.precision == "bf16-true"


def test_a_training_is_interrupted_though_it_asks_for_more_epochs_at_least() -> None:
    module, loaders, _ = equipped.equipped()
    told: list[int] = []
    callbacks = [interruption(pl, 4, lambda: told.append(1))]
    trainer = pl.Trainer(**{**TRAINER, "max_epochs": 4, "min_epochs": 4}, callbacks=callbacks)
    trainer.fit(module, *loaders)
    assert trainer.current_epoch == 2
    assert told == [1], "who listens to guards hears when they are interrupted"

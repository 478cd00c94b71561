"""The seams of what a training is built with, what it reports and leaves behind."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import (
    CallbackHook,
    Checkpoint,
    LoggerCall,
    Logging,
    MetricReset,
    ModuleArguments,
    RandomState,
    TrainerArguments,
)
from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.fault import Fault
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site, attach
from faultlab.injection.registry import Registered
from faultlab.injection.values import Logged
from tests.injection import outer
from tests.zoo import equipped, models

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("namespace", outer.BOTH)
def test_the_trainers_arguments_are_mapped_and_its_callbacks_are_a_list_in_them(namespace: str) -> None:
    def changed(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
        assert arguments["callbacks"] == []
        return {**arguments, "max_epochs": 3}

    done = outer.train(TrainerArguments(), changed, outer.classifier(namespace), namespace=namespace)
    assert (done.activations, done.trainer.current_epoch) == (1, 3)


def test_a_single_callback_is_handed_over_as_a_list_too() -> None:
    seen = []

    def looking(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
        seen.extend(arguments["callbacks"])
        return arguments

    watcher = equipped.Watcher()
    done = outer.train(TrainerArguments(), looking, outer.classifier(), callbacks=watcher)
    assert seen == [watcher]
    assert done.activations == 0


def test_the_modules_arguments_are_mapped_with_their_defaults_and_kept_as_hyperparameters() -> None:
    profile = TargetProfile(module="tests.zoo.equipped.Configured", arguments={"hidden": 16})
    done = outer.train(
        ModuleArguments(), lambda a, ctx: {**a, "hidden": a["hidden"] // 8}, outer.configured, profile=profile
    )
    assert done.activations == 1
    assert done.module.net[0].out_features == 2
    assert dict(done.module.hparams) == {"hidden": 2, "learning_rate": 0.01}


def test_a_class_that_was_made_inside_a_function_has_no_arguments_to_break() -> None:
    assert "by its name" in ModuleArguments().inapplicable(
        TargetProfile(module="tests.zoo.models.classifier.<locals>.C")
    )


def test_random_numbers_can_be_seeded_before_the_module_is_built() -> None:
    def reseeded(_: Any, ctx: Any) -> None:
        torch.manual_seed(99)

    torch.manual_seed(99)
    expected, _ = models.classifier()
    done = outer.train(RandomState("construction"), reseeded, outer.classifier(), limit_train_batches=0)
    assert done.activations == 1
    assert torch.equal(done.module.net[0].weight, expected.net[0].weight)


@pytest.mark.parametrize("namespace", outer.BOTH)
def test_what_is_logged_is_mapped_or_dropped(namespace: str) -> None:
    def changed(logged: Logged, ctx: Any) -> Logged | None:
        if logged.name == "train_loss":
            return None
        return replace(logged, value=logged.value * 0 + 7)

    done = outer.train(Logging(), changed, outer.classifier(namespace), namespace=namespace)
    assert {name: float(value) for name, value in done.trainer.callback_metrics.items()} == {"val_loss": 7.0}
    assert done.activations == 4 + 2 + 2  # training steps, sanity check, validation


def test_a_metric_that_is_not_reset_remembers_the_epochs_before() -> None:
    kept = outer.train(MetricReset(), lambda call, ctx: None, outer.classifier(), max_epochs=3)
    reset = outer.train(MetricReset(), lambda call, ctx: call(), outer.classifier(), max_epochs=3)
    assert (kept.activations > 0, reset.activations) == (True, 0)
    assert float(kept.trainer.callback_metrics["val_loss"]) > float(reset.trainer.callback_metrics["val_loss"])


def test_what_the_loggers_get_can_be_withheld(tmp_path: Path) -> None:
    logger = importlib.import_module(outer.BOTH[0]).loggers.CSVLogger(tmp_path)
    done = outer.train(LoggerCall(), lambda call, ctx: None, outer.classifier(), logger=logger, log_every_n_steps=1)
    assert done.activations > 4
    assert not list(tmp_path.rglob("metrics.csv"))


def test_a_callbacks_hooks_are_called_around_and_the_others_are_left_alone() -> None:
    first, second = equipped.Watcher(), equipped.Watcher()
    done = outer.train(CallbackHook(), lambda call, ctx: None, outer.classifier(), callbacks=[first, second])
    assert (first.seen, second.seen > 4, done.activations) == (0, True, second.seen)
    assert "on_train_batch_end" not in vars(first)


def test_a_callbacks_injector_may_stop_the_training() -> None:
    def stopping(call: Any, ctx: Any) -> None:
        call()
        ctx.trainer.should_stop = True

    done = outer.train(
        CallbackHook("on_train_batch_end"), stopping, outer.classifier(), "step=1", callbacks=equipped.Watcher()
    )
    assert (done.activations, done.trainer.global_step) == (1, 2)


@pytest.mark.parametrize("namespace", outer.BOTH)
def test_a_checkpoints_parts_are_mapped_on_their_way(namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "one.ckpt"

    def save(trainer: Any, module: Any) -> None:
        trainer.save_checkpoint(file)

    def train(part: str, injector: Callable[..., Any]) -> int:
        file.unlink(missing_ok=True)
        done = outer.train(Checkpoint(part), injector, outer.classifier(namespace), namespace=namespace, then=save)
        return int(done.activations)

    assert train("state", lambda state, ctx: {**state, "optimizer_states": []}) == 1
    assert torch.load(file, weights_only=False)["optimizer_states"] == []
    assert train("file", lambda content, ctx: content[:100]) == 1
    assert len(file.read_bytes()) == 100
    assert train("save", lambda call, ctx: None) == 1
    assert not file.exists()


def test_what_a_module_loads_can_be_changed_and_strictness_taken_off(tmp_path: Path) -> None:
    def load(trainer: Any, module: Any) -> None:
        module.load_state_dict({name: tensor * 0 for name, tensor in module.state_dict().items()})

    def renamed(restored: Any, ctx: Any) -> Any:
        return replace(restored, state={f"old.{name}": t for name, t in restored.state.items()}, strict=False)

    done = outer.train(Checkpoint("weights"), renamed, outer.classifier(), then=load)
    assert done.activations == 1
    assert float(done.module.net[0].weight.abs().sum()) > 0


def test_attaching_an_outer_seam_leaves_nothing_behind() -> None:
    from pytorch_lightning.trainer import call

    trainer = importlib.import_module(outer.BOTH[0]).Trainer
    before = (trainer.__init__, call._call_callback_hooks, equipped.Configured.__init__)
    profile = TargetProfile(module="tests.zoo.equipped.Configured")
    for seam in (TrainerArguments(), CallbackHook(), ModuleArguments()):
        declared = declare(id="trial.mode", docstring="A.", no_evidence="a test", point=seam, severity="minor",
                           effect="silent", cause=("x",))  # fmt: skip
        armed = Armed(Fault("trial.mode"), Registered(declared, lambda value, ctx: value), LightningClock(), profile)
        with attach(armed, Site(type(None))):
            pass
    assert (trainer.__init__, call._call_callback_hooks, equipped.Configured.__init__) == before


def test_a_warning_that_names_the_runs_own_folder_is_the_same_warning_in_every_run() -> None:
    from faultlab.detectors.warnings_shown import Warnings

    one, other = Warnings(LightningClock(), "/tmp/lab/one"), Warnings(LightningClock(), "/tmp/lab/other")
    for warnings, folder in ((one, "/tmp/lab/one"), (other, "/tmp/lab/other")):
        warnings.note(f"UserWarning: {folder}/checkpoints is not empty")
    assert set(one.seen) == set(other.seen) == {"UserWarning: <run>/checkpoints is not empty"}


def test_hooks_that_were_set_on_a_callback_are_called_around_too() -> None:
    seen: list[int] = []
    callback = importlib.import_module(outer.BOTH[0]).callbacks.LambdaCallback(
        on_train_batch_end=lambda *_: seen.append(1)
    )
    done = outer.train(CallbackHook(), lambda call, ctx: None, outer.classifier(), callbacks=callback)
    assert (seen, done.activations) == ([], done.trainer.global_step)


def test_callbacks_that_the_module_brings_are_out_of_reach_of_the_trainers_arguments(tmp_path: Path) -> None:
    callbacks = importlib.import_module(outer.BOTH[0]).callbacks

    class Bringing(equipped.Configured):
        def configure_callbacks(self) -> Any:
            return [callbacks.EarlyStopping("val_loss"), callbacks.ModelCheckpoint(monitor="val_loss")]

    _, data = outer.configured()
    found = outer.probed(Bringing(), data, enable_checkpointing=True, default_root_dir=tmp_path)
    assert found.callbacks == ("EarlyStopping", "ModelCheckpoint")
    assert (found.patience, found.ranking, found.monitors) == ({}, (), {})
    for name in ("early-stopping", "patient-callback", "ranking-callback", "best-checkpoint"):
        assert "passed to the Trainer" in REQUIREMENTS[name](found)
    given = outer.probed(*outer.configured(), callbacks=[callbacks.EarlyStopping("val_loss", patience=2)])
    assert (given.patience, given.ranking) == ({"EarlyStopping": 2}, ("EarlyStopping",))


def test_a_logger_that_is_never_handed_anything_has_nothing_to_lose(tmp_path: Path) -> None:
    logger = importlib.import_module(outer.BOTH[0]).loggers.CSVLogger(tmp_path)
    often = outer.probed(*outer.configured(), logger=logger, log_every_n_steps=1)
    assert (often.last_logged, LoggerCall().inapplicable(often)) == (3, "")
    seldom = outer.probed(*outer.configured(), logger=logger, log_every_n_steps=100, limit_val_batches=0)
    assert seldom.last_logged is None
    assert "reaches the logger" in LoggerCall().inapplicable(seldom)


def test_without_an_optimizer_checkpoints_hold_no_state_of_one_and_the_same_weights() -> None:
    class Untrained(equipped.Configured):
        def configure_optimizers(self) -> Any:
            return None

    _, data = outer.configured()
    found = outer.probed(Untrained(), data)
    for name in ("optimizer", "later-save"):
        assert "there is no optimizer" in REQUIREMENTS[name](found)

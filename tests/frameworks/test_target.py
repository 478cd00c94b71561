"""How a scenario names its target: classes, factories, one build, loaders, Trainer subclasses, guards, flags."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl

from faultlab.errors import TargetError
from faultlab.frameworks.lightning.target import Target
from tests.zoo import models

HERE = "tests.frameworks.test_target"


class SubTrainer(pl.Trainer):
    """A Trainer of a user's own."""


def module(width: int = 3) -> Any:
    """A factory that returns a LightningModule."""
    built = models.classifier()[0]
    built.width = width
    return built


def pair() -> Any:
    """A factory that returns (train, validation)."""
    return models.classifier()[1]


def loader() -> Any:
    """A factory that returns one loader."""
    return models.language()[1]


def whole() -> Any:
    """A factory for module, data and Trainer arguments together."""
    built, data = models.classifier()
    return built, data, {"trainer_class": SubTrainer, "max_epochs": 3, "gradient_clip_val": 0.5}


def bought() -> Any:
    """A factory for a module of a package that the scenario does not name."""
    return type("Bought", (pl.LightningModule,), {"__module__": "shop.models"})(), None


class WithLoaders(pl.LightningModule):
    """A module that brings its own loaders."""

    def train_dataloader(self) -> Any:
        return models.language()[1]


def nothing() -> int:
    """A factory that returns no module."""
    return 3


def _build(**scenario: Any) -> Any:
    return Target(scenario).build("root")


def _named(name: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": f"{HERE}.{name}", "init_args": init_args}


def test_module_and_data_may_be_factories() -> None:
    built = _build(module=_named("module", width=7), data=_named("pair"))
    assert built.module.width == 7
    assert sorted(built.fit) == ["train_dataloaders", "val_dataloaders"]
    assert sorted(_build(module=_named("module"), data=_named("loader")).fit) == ["train_dataloaders"]


def test_data_may_be_left_out_or_be_a_datamodule() -> None:
    assert _build(module=_named("WithLoaders")).fit == {}
    digits = {"class_path": "scenarios.digits.model.DigitsData"}
    assert list(_build(module={"class_path": "scenarios.digits.model.LitDigits"}, data=digits).fit) == ["datamodule"]


def test_one_build_brings_module_data_and_trainer_arguments() -> None:
    built = _build(build=_named("whole"), trainer={"max_epochs": 1})
    assert built.trainer_class is SubTrainer
    arguments = built.trainer_arguments
    assert (arguments["max_epochs"], arguments["gradient_clip_val"]) == (1, 0.5)


def test_the_package_of_what_a_factory_makes_is_the_users_code() -> None:
    target = Target({"build": _named("bought")})
    assert "shop" not in target.code.packages
    target.build("root")
    assert {"shop", "tests"} <= target.code.packages


def test_the_trainer_may_be_a_subclass() -> None:
    trainer = {"class_path": f"{HERE}.SubTrainer", "init_args": {"max_epochs": 2}}
    built = _build(module=_named("module"), trainer=trainer)
    assert (built.trainer_class, built.trainer_arguments["max_epochs"]) == (SubTrainer, 2)


def test_every_build_is_fresh() -> None:
    target = Target({"module": _named("module")})
    assert target.build("root").module is not target.build("root").module


def test_guards_are_callbacks_by_name_and_trainer_flags() -> None:
    stopping = {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "val_loss"}}
    guards = [stopping, {**stopping, "name": "second"}, {"trainer_flag": {"detect_anomaly": True}}]
    target = Target({"module": _named("module"), "guards": guards})
    built = target.build("root")
    assert list(built.guards) == ["EarlyStopping", "second"]
    assert built.trainer_arguments["detect_anomaly"] is True
    assert target.flags == {"detect_anomaly": True}
    assert "detect_anomaly" not in target.build("root", with_flags=False).trainer_arguments


def test_a_guard_that_writes_checkpoints_may_and_nobody_else_does() -> None:
    saving = {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint"}
    assert _build(module=_named("module"), guards=[saving]).trainer_arguments["enable_checkpointing"] is True
    assert _build(module=_named("module")).trainer_arguments["enable_checkpointing"] is False


@pytest.mark.parametrize(
    ("scenario", "where", "message"),
    [
        ({"module": {"class_path": "nowhere.at.All"}}, ("module", "class_path"), "no module named 'nowhere'"),
        ({"module": {"class_path": f"{HERE}.modul"}}, ("module", "class_path"), "has no 'modul'"),
        ({"module": _named("module", breadth=1)}, ("module", "init_args"), "breadth"),
        ({"module": _named("nothing")}, ("module",), "LightningModule"),
        ({"build": _named("module")}, ("build",), "must return"),
        ({"module": {"class_path": f"{HERE}.HERE"}}, ("module", "class_path"), "not a class or function"),
    ],
)
def test_what_can_not_be_built_is_an_error_at_its_key(scenario: Any, where: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        _build(**scenario)
    assert caught.value.where == where

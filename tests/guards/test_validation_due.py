"""ValidationDue: validation that is never due, or never gets data."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from faultlab import guards
from faultlab.guards import Alarm, ValidationDue
from tests.guards.rig import QUIET, Healthy, alarm_of, fit, loaders

BY_BATCHES = {"check_val_every_n_epoch": None}


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"check_val_every_n_epoch": 3}, "check_val_every_n_epoch is 3"),
        ({**BY_BATCHES, "val_check_interval": 17}, "the training has 16 in all"),
        ({**BY_BATCHES, "val_check_interval": 9, "max_steps": 8, "max_epochs": -1}, "the training has 8 in all"),
    ],
)
def test_an_interval_that_is_longer_than_the_training_is_detected(trainer: Any, said: str) -> None:
    alarm = alarm_of(ValidationDue(), **trainer)
    assert alarm is not None
    assert alarm.check == "never-due"
    assert said in alarm.found


def test_who_waits_for_validation_in_vain_is_named(tmp_path: Any) -> None:
    keep = ModelCheckpoint(tmp_path, monitor="val_loss", every_n_train_steps=20)
    trainer = {**BY_BATCHES, "val_check_interval": 20, "enable_checkpointing": True}
    alarm = alarm_of([ValidationDue(), keep], **trainer)
    assert alarm is not None
    assert "ModelCheckpoint monitors val_loss, which will not be logged" in alarm.found


@pytest.mark.parametrize(
    "trainer",
    [
        {"check_val_every_n_epoch": 2},
        {**BY_BATCHES, "val_check_interval": 16},
        {"val_check_interval": 0.5},
        # A trial on a part of the data, or of a few steps; validation that is turned off; the clock.
        {**BY_BATCHES, "val_check_interval": 8, "limit_train_batches": 2},
        {"max_steps": 3},
        {**BY_BATCHES, "val_check_interval": 50, "limit_val_batches": 0},
        {"check_val_every_n_epoch": 5, "fast_dev_run": True},
        {"val_check_interval": "00:01:00:00"},
    ],
)
def test_rare_validation_that_is_due_and_trials_are_allowed(trainer: Any) -> None:
    assert alarm_of(ValidationDue(), **trainer) is None


class TrainOnly(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return loaders()[0]


class Keeping(TrainOnly):
    def setup(self, stage: str) -> None:
        self.val_set = loaders()[1].dataset


def training(module: Any, *callbacks: Any, data: Any = None) -> str:
    """Return the check that ends a training without a validation loader, empty if none does."""
    torch.manual_seed(0)
    trainer = pl.Trainer(**QUIET, max_epochs=1, callbacks=[ValidationDue(), *callbacks])
    try:
        trainer.fit(module, datamodule=data) if data else trainer.fit(module, loaders()[0])
    except Alarm as alarm:
        return alarm.check
    return ""


def test_validation_that_is_needed_but_gets_no_data_is_detected() -> None:
    assert training(Healthy(), EarlyStopping("val_loss", strict=False)) == "no-data"
    assert training(Healthy(), data=Keeping()) == "no-data"


def test_a_last_training_on_all_of_the_data_is_allowed() -> None:
    assert training(Healthy()) == ""
    assert training(Healthy(), EarlyStopping("train_loss")) == ""
    assert training(Healthy(), data=TrainOnly()) == ""


def test_a_datamodule_without_a_share_for_validation_is_allowed() -> None:
    class Stocked(Keeping):
        """Puts Lightning's own hook before its own if there is nothing to validate on."""

        def setup(self, stage: str) -> None:
            self.val_set: Any = []
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]

        def val_dataloader(self) -> Any:
            raise AssertionError("nothing was set aside")

    class Keeper(Stocked):
        def setup(self, stage: str) -> None:
            super().setup(stage)
            self.val_data = loaders()[1].dataset

    assert training(Healthy(), data=Stocked()) == ""
    assert training(Healthy(), data=Keeper()) == "no-data"


def test_data_that_are_kept_for_no_validation_step_are_allowed() -> None:
    class Plain(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    assert training(Plain(), data=Keeping()) == ""
    fit(ValidationDue(), Plain(), check_val_every_n_epoch=9)


def test_a_loop_by_hand_validates_when_and_on_what_its_author_likes() -> None:
    module: Any = Healthy()
    module.val_set = loaders()[1].dataset
    optimizer = module.configure_optimizers()
    object.__setattr__(module, "log", lambda *args, **kwargs: None)
    with guards.attach(module, ValidationDue(), optimizer, train_dataloader=loaders()[0]):
        for index, batch in enumerate(loaders()[0]):
            optimizer.zero_grad()
            module.training_step(batch, index).backward()
            optimizer.step()

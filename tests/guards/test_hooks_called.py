"""HooksCalled: methods that look like hooks, and callbacks that are lost."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from faultlab.guards import Alarm, HooksCalled
from tests.guards.rig import QUIET, Healthy, alarm_of, fit, loaders


def test_a_hook_of_the_module_that_was_removed_is_detected() -> None:
    class Old(Healthy):
        def training_step_end(self, outputs: Any) -> Any:
            return outputs

    alarm = alarm_of(HooksCalled(), Old())
    assert alarm is not None
    assert alarm.check == "not-a-hook"
    assert "Old.training_step_end" in alarm.found


def test_a_step_by_another_name_is_detected_where_the_real_one_is_missing() -> None:
    class Misnamed(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Healthy()
            self.val_step = self.inner.validation_step

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.inner(batch[0]).mean()

        def valid_step(self, batch: Any, batch_idx: int) -> Any:
            """Is never called."""

        def configure_optimizers(self) -> Any:
            return self.inner.configure_optimizers()

    class Both(Healthy):
        def val_step(self, batch: Any, batch_idx: int) -> Any:
            """Something else than validation_step."""

    assert alarm_of(HooksCalled(), Misnamed()) is not None
    fit(HooksCalled(), Both())


def test_a_misspelt_hook_of_a_callback_is_detected() -> None:
    class Misspelt(pl.Callback):
        def on_train_epochs_end(self, trainer: Any, pl_module: Any) -> None:
            """Is never called."""

    alarm = alarm_of([HooksCalled(), Misspelt()])
    assert alarm is not None
    assert "on_train_epoch_end" in alarm.remedy


def test_a_method_that_the_class_calls_itself_is_allowed() -> None:
    class Calling(pl.Callback):
        def on_batch_end(self) -> None:
            """Is called below."""

        def on_train_batch_end(self, *args: Any) -> None:
            self.on_batch_end()

        def on_new_best(self) -> None:
            """Resembles no hook."""

    fit([HooksCalled(), Calling()])


class Data(pl.LightningDataModule):
    """Creates its loaders at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.loaders = loaders()

    def train_dataloader(self) -> Any:
        return self.loaders[0]


class Misnamed(Data):
    def val_loader(self) -> Any:
        return self.loaders[1]


class Misspelt(Data):
    def val_dataloaders(self) -> Any:
        return self.loaders[1]


class Unprepared(Data):
    def setup_data(self) -> None:
        self.mean = 0.5


class Both(Misnamed):
    def val_dataloader(self) -> Any:
        return self.loaders[1]


class Prepared(Unprepared):
    def __init__(self) -> None:
        super().__init__()
        self.prepare()

    def prepare(self) -> None:
        self.spread = 1.0
        self.setup_data()


def found_in(data: pl.LightningDataModule, module: pl.LightningModule) -> str:
    """Return the finding on a datamodule, empty if there is none."""
    trainer = pl.Trainer(**QUIET, max_epochs=1, callbacks=HooksCalled())
    try:
        trainer.fit(module, datamodule=data)
    except Alarm as alarm:
        return alarm.found
    return ""


@pytest.mark.parametrize(
    ("data", "name", "meant"),
    [
        (Misnamed, "Misnamed.val_loader", "val_dataloader"),
        (Misspelt, "Misspelt.val_dataloaders", "val_dataloader"),
        (Unprepared, "Unprepared.setup_data", "setup"),
    ],
)
def test_a_misnamed_hook_of_the_datamodule_is_detected(data: Any, name: str, meant: str) -> None:
    found = found_in(data(), Healthy())
    assert name in found
    assert found.endswith(f"the Trainer's hook is {meant}")


def test_a_method_of_the_datamodule_that_is_called_or_not_needed_is_allowed() -> None:
    class Unvalidated(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    called = Unprepared()
    called.setup_data()
    assert found_in(Data(), Healthy()) == ""
    assert found_in(Both(), Healthy()) == ""
    assert found_in(Prepared(), Healthy()) == ""
    assert found_in(called, Healthy()) == ""
    assert found_in(Misnamed(), Unvalidated()) == ""


def test_a_callback_that_goes_missing_is_detected() -> None:
    class Watching(pl.Callback):
        """A callback that is removed."""

    class Removing(Healthy):
        def on_train_batch_end(self, *args: Any) -> None:
            self.trainer.callbacks = [c for c in self.trainer.callbacks if not isinstance(c, Watching)]

    alarm = alarm_of([HooksCalled(), Watching()], Removing())
    assert alarm is not None
    assert alarm.check == "callback-gone"
    assert "Watching" in alarm.found


def test_a_guard_whose_hooks_are_not_called_raises_an_alarm() -> None:
    class Deaf(HooksCalled):
        def on_train_batch_end(self, *args: Any) -> None:
            """Do nothing, as if it had never been called."""

    alarm = alarm_of(Deaf())
    assert alarm is not None
    assert alarm.check == "not-called"

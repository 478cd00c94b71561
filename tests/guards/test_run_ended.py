"""RunEnded: a training that did less than requested and ended as if it were complete."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer
from torch.utils.data import DataLoader, IterableDataset

from faultlab.guards import Alarm, RunEnded
from tests.guards.rig import QUIET, Healthy, Streamed, alarm_of, fit, loaders, points


def check_of(*args: Any, **kwargs: Any) -> str | None:
    alarm = alarm_of(RunEnded(), *args, **kwargs)
    return alarm.check if alarm else None


@pytest.mark.parametrize(
    "trainer",
    [{"max_epochs": 0}, {"max_steps": 0}, {"limit_train_batches": 0}],
    ids=lambda trainer: next(iter(trainer)),
)
def test_a_limit_of_zero_is_detected(trainer: dict[str, Any]) -> None:
    assert check_of(**trainer) == "nothing-trained"


def test_an_empty_loader_is_detected() -> None:
    alarm = alarm_of(RunEnded(), train=DataLoader(points(4), batch_size=8, drop_last=True))
    assert alarm is not None
    assert alarm.check == "nothing-trained"
    assert "never trained" in str(alarm)


@pytest.mark.parametrize("trainer", [{"fast_dev_run": True}, {"overfit_batches": 1}], ids=["fast", "overfit"])
def test_what_is_left_on_from_debugging_is_detected_unless_it_is_wanted(trainer: dict[str, Any]) -> None:
    assert check_of(**trainer) == "debugging-left-on"
    fit(RunEnded(debugging=True), **trainer)


def test_steps_that_are_a_fraction_of_the_epochs_are_detected_before_the_first() -> None:
    alarm = alarm_of(RunEnded(), max_epochs=4, max_steps=3)
    assert alarm is not None
    assert alarm.check == "steps-short"
    assert "9% of the 32 steps" in alarm.found


def test_steps_that_are_most_of_the_epochs_are_allowed() -> None:
    fit(RunEnded(), max_epochs=2, max_steps=12)
    fit(RunEnded(), max_epochs=-1, max_steps=3)


def test_steps_of_several_optimizers_end_the_training_sooner_and_are_detected_then() -> None:
    class Manual(Healthy):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            for _ in range(2):
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(super().training_step(batch, batch_idx))
                optimizer.step()

    assert check_of(Manual(), max_epochs=8, max_steps=16) == "steps-short"
    assert check_of(Manual(), max_epochs=2, max_steps=32) is None


def test_an_epoch_that_is_cut_short_is_detected_with_the_missing_batches() -> None:
    class Short(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 5:
                raise StopIteration
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(RunEnded(), Short())
    assert alarm is not None
    assert alarm.check == "batches-left-out"
    assert "after 5 of its 8 batches" in alarm.found


def test_a_hook_that_skips_the_rest_of_an_epoch_is_detected() -> None:
    class Skipping(Healthy):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if batch_idx == 2 else None

    assert check_of(Skipping()) == "batches-left-out"


def test_epochs_that_are_left_out_are_detected() -> None:
    class Leaving(Healthy):
        def on_train_epoch_end(self) -> None:
            raise StopIteration

    assert check_of(Leaving()) == "epochs-left-out"


def test_a_validation_that_is_cut_short_is_detected() -> None:
    class Short(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 1:
                raise StopIteration
            return super().validation_step(batch, batch_idx)

    assert check_of(Short()) == "validation-cut-short"


@pytest.mark.parametrize("code", [None, 0])
def test_an_exit_that_looks_like_success_is_detected(code: int | None) -> None:
    class Exiting(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            sys.exit(code)

    assert check_of(Exiting()) == "exited-as-success"


def test_an_exit_with_another_status_is_loud_by_itself() -> None:
    class Exiting(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            sys.exit(3)

    with pytest.raises(SystemExit):
        fit(RunEnded(), Exiting())


def test_a_termination_by_a_signal_is_detected() -> None:
    class Terminated(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(batch, batch_idx)

    with pytest.raises(Alarm, match="SIGTERM"):
        fit(RunEnded(), Terminated())


def test_an_exception_is_left_as_it_is() -> None:
    class Failing(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("a failure of its own")

    with pytest.raises(ValueError, match="of its own"):
        fit(RunEnded(), Failing())


def test_a_stop_that_a_callback_asked_for_is_allowed() -> None:
    fit([RunEnded(), EarlyStopping("val_loss", patience=1, min_delta=10.0)], max_epochs=6)
    fit([RunEnded(), Timer(duration={"milliseconds": 1}, interval="step")])


def test_iterable_data_of_any_length_is_allowed() -> None:
    class Guessing(IterableDataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 100

        def __iter__(self) -> Any:
            return iter([points()[i] for i in range(64)])

    fit(RunEnded(), train=DataLoader(Guessing(), batch_size=16))


def resumed(path: Any, **trainer: Any) -> pl.Trainer:
    """Resume a training of an epoch from its checkpoint."""
    fit(RunEnded(), max_epochs=1).save_checkpoint(path)
    again = pl.Trainer(**{**QUIET, "callbacks": RunEnded(), **trainer})
    again.fit(Healthy(), *loaders(), ckpt_path=path, weights_only=False)
    return again


def test_a_training_that_is_resumed_is_allowed(tmp_path: Any) -> None:
    assert resumed(tmp_path / "kept.ckpt", max_epochs=3).global_step == 24
    assert resumed(tmp_path / "kept.ckpt", max_epochs=1, callbacks=RunEnded(debugging=True)).global_step == 8


@pytest.mark.parametrize("limits", [{"max_epochs": 1}, {"max_epochs": -1, "max_steps": 8}])
def test_a_resume_that_has_nothing_left_to_do_is_detected(tmp_path: Any, limits: dict[str, int]) -> None:
    with pytest.raises(Alarm) as caught:
        resumed(tmp_path / "kept.ckpt", **limits)
    assert caught.value.check == "nothing-left"
    assert "kept.ckpt is at epoch 1 and step 8" in caught.value.found


def test_a_second_fit_of_a_trainer_that_is_done_is_detected() -> None:
    trainer = fit(RunEnded(), max_epochs=1)
    with pytest.raises(Alarm, match="the Trainer is at epoch 1"):
        trainer.fit(Healthy(), *loaders())


@pytest.mark.parametrize("arguments", [{}, {"limit_train_batches": 50, "limit_val_batches": 4}])
def test_loaders_without_a_length_may_end_before_the_limit(arguments: dict[str, Any]) -> None:
    fit(RunEnded(), train=Streamed(8), validation=Streamed(1), **arguments)

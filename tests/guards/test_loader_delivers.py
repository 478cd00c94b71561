from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler, TensorDataset, default_collate

from faultlab.guards import Alarm, LoaderDelivers, watch
from tests.guards.rig import QUIET, Healthy, Streamed, alarm_of, fit, loaders, points


class Lying(DataLoader):  # type: ignore[type-arg]
    """Promises more batches than it has."""

    def __len__(self) -> int:
        return 2 * super().__len__()


class Once:
    """Can be iterated over once."""

    def __init__(self) -> None:
        self.left = iter(loaders()[0])

    def __iter__(self) -> Any:
        return self.left


def test_an_epoch_with_fewer_batches_than_promised_is_detected() -> None:
    alarm = alarm_of(LoaderDelivers(), train=Lying(points(), batch_size=16))
    assert alarm is not None
    assert alarm.check == "short-epoch"
    assert "8 of the 16 batches" in alarm.found


def test_a_loader_that_is_exhausted_is_detected_in_the_second_epoch() -> None:
    alarm = alarm_of(LoaderDelivers(), train=Once())
    assert alarm is not None
    assert alarm.found.startswith("epoch 1 had 0 batches, but the first one had 8")


@pytest.mark.parametrize("hook", ["training_step", "on_train_batch_start"])
def test_a_step_that_ends_the_epoch_is_detected(hook: str) -> None:
    class Ending(Healthy):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
            return -1 if hook == "on_train_batch_start" and batch_idx == 5 else None

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if hook == "training_step" and batch_idx == 5:
                raise StopIteration
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(LoaderDelivers(), Ending())
    assert alarm is not None
    assert "5 of the 8" in alarm.found


def test_a_training_that_ends_before_its_last_epoch_is_detected() -> None:
    class Ending(Healthy):
        def on_train_epoch_end(self) -> None:
            raise StopIteration

    alarm = alarm_of(LoaderDelivers(), Ending(), max_epochs=3)
    assert alarm is not None
    assert (alarm.check, "epoch 0 of 3" in alarm.found) == ("early-end", True)


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("limit_train_batches is 0", {"limit_train_batches": 0}),
        ("max_epochs is 0", {"max_epochs": 0}),
        ("zero batches of 0 samples", {"train": DataLoader(TensorDataset(torch.zeros(0, 4)))}),
        ("drop_last", {"train": DataLoader(points(), batch_size=1000, drop_last=True)}),
    ],
)
def test_a_run_that_trains_nothing_is_detected(said: str, arguments: dict[str, Any]) -> None:
    alarm = alarm_of(LoaderDelivers(), **arguments)
    assert alarm is not None
    assert (alarm.check, said in alarm.found) == ("nothing-trained", True), alarm.found


def test_a_batch_size_that_is_not_that_of_the_hyperparameters_is_detected() -> None:
    class Asking(Healthy):
        def __init__(self, batch_size: int) -> None:
            super().__init__()
            self.save_hyperparameters()

    fit(LoaderDelivers(), Asking(16))
    fit(LoaderDelivers(), Asking(32), accumulate_grad_batches=2)
    alarm = alarm_of(LoaderDelivers(), Asking(64))
    assert alarm is not None
    assert (alarm.check, "is 16, but" in alarm.found) == ("batch-size", True)


def test_samples_that_a_transfer_hook_drops_are_detected() -> None:
    class Dropping(Healthy):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [part[:3] for part in batch]

    alarm = alarm_of(LoaderDelivers(), Dropping())
    assert alarm is not None
    assert (alarm.check, "batch 0 has 3 samples" in alarm.found) == ("small-batch", True)


def test_a_declared_number_of_samples_is_compared() -> None:
    fit(LoaderDelivers(samples=128))
    alarm = alarm_of(LoaderDelivers(samples=256))
    assert alarm is not None
    assert "128 samples, but should have 256" in alarm.found


@pytest.mark.parametrize(
    "arguments", [{"max_steps": 5}, {"limit_train_batches": 3}, {"max_time": {"seconds": 0}}, {"fast_dev_run": True}]
)
def test_an_end_that_was_asked_for_is_none_too_early(arguments: dict[str, Any]) -> None:
    fit(LoaderDelivers(), **arguments)


def test_early_stopping_does_not_count_as_an_early_end() -> None:
    fit([LoaderDelivers(), pl.callbacks.EarlyStopping("val_loss", patience=1, min_delta=9.0)], max_epochs=9)


def test_remainders_and_custom_layouts_do_not_count_as_small_batches() -> None:
    fit(LoaderDelivers(), train=DataLoader(points(100), batch_size=16, shuffle=True))

    class Turning(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch["x"][0]).sum()

    def turned(samples: list[Any]) -> dict[str, torch.Tensor]:
        return {"x": torch.stack([x for x, _ in samples])[None].repeat(2, 1, 1)}

    fit(LoaderDelivers(), Turning(), DataLoader(points(), batch_size=16, shuffle=True, collate_fn=turned))


def test_a_training_that_is_resumed_half_way_or_when_it_is_done_is_allowed(tmp_path: Any) -> None:
    saved = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=11, save_top_k=-1)
    fit([saved], enable_checkpointing=True, root=tmp_path)
    for max_epochs in (1, 2):
        trainer = pl.Trainer(
            **{**QUIET, "enable_checkpointing": True}, max_epochs=max_epochs, default_root_dir=tmp_path,
            callbacks=[LoaderDelivers()],
        )  # fmt: skip
        trainer.fit(Healthy(), *loaders(), ckpt_path=saved.best_model_path or next(tmp_path.glob("*.ckpt")))


def test_a_loader_without_a_length_may_end_before_the_limit() -> None:
    fit(LoaderDelivers(), train=Streamed(8), limit_train_batches=50)


class Drawn(Sampler[int]):
    """Draws samples without a number."""

    def __iter__(self) -> Any:
        return iter(range(72))


def looped(lost_in: int = -1, sampler: Any = None) -> None:
    """Train by hand over 72 samples in batches of 16, most of which are lost in one of them."""
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gone = iter(range(1000))

    def collate(samples: Any) -> Any:
        return default_collate(samples[:3] if next(gone) == lost_in else samples)

    loader = DataLoader(points(72), batch_size=16, sampler=sampler, collate_fn=collate)
    with watch(model, optimizer, loader=loader, guards=LoaderDelivers()):
        for _ in range(2):
            for inputs, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()


@pytest.mark.parametrize("sampler", [None, Drawn()])
def test_the_last_batch_of_an_epoch_of_a_loop_may_be_small(sampler: Any) -> None:
    looped(sampler=sampler)


@pytest.mark.parametrize("sampler", [None, Drawn()])
def test_a_small_batch_of_a_loop_that_is_not_the_last_is_detected(sampler: Any) -> None:
    with pytest.raises(Alarm, match="batch 3 has 3 samples, fewer than the batch size of 16"):
        looped(3, sampler)

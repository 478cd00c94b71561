"""Tests of the digits classifier: its data, one step, short fits, and the use of a trained model."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from scenarios.digits.model import NUM_CLASSES, DigitsData, LitDigits

SEED = 0


def _trainer(**settings: Any) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(**{"accelerator": "cpu", "logger": False, **quiet, **settings})


@pytest.fixture(autouse=True)
def _seeded() -> None:
    pl.seed_everything(SEED)


@pytest.fixture
def data() -> DigitsData:
    data = DigitsData(batch_size=32)
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def trained() -> LitDigits:
    """Return a model after two short epochs; tests must not change its weights."""
    pl.seed_everything(SEED)  # set up before the fixture that seeds each test
    model = LitDigits()
    _trainer(max_epochs=2, limit_train_batches=10, limit_val_batches=1).fit(model, datamodule=DigitsData())
    return model


def test_batches_hold_images_between_zero_and_one_and_digits(data: DigitsData) -> None:
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for images, labels in loader:
            assert images.shape == (len(labels), 1, 8, 8)
            assert images.dtype == torch.float32
            assert images.min() >= 0
            assert images.max() <= 1
            assert labels.dtype == torch.int64
            assert labels.min() >= 0
            assert labels.max() < NUM_CLASSES


def test_no_image_is_in_two_splits(data: DigitsData) -> None:
    splits = {name: {tuple(row) for row in split.tensors[0].flatten(1).tolist()} for name, split in data.splits.items()}
    assert splits.keys() == {"train", "validation", "test"}
    assert all(splits.values())
    for one, other in combinations(splits, 2):
        assert splits[one].isdisjoint(splits[other]), f"{one} and {other} overlap"


@pytest.mark.parametrize("batch_size", [1, 5, 64])
@pytest.mark.parametrize("channels", [4, 12])
def test_forward_gives_ten_logits_an_image(channels: int, batch_size: int) -> None:
    model = LitDigits(channels=channels).eval()
    with torch.no_grad():
        logits = model(torch.rand(batch_size, 1, 8, 8))
    assert logits.shape == (batch_size, NUM_CLASSES)
    assert logits.isfinite().all()


# There is no trainer to log to.
@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_a_training_step_gives_a_finite_loss_with_gradients(data: DigitsData) -> None:
    model = LitDigits()
    loss = model.training_step(next(iter(data.train_dataloader())), 0)
    assert loss.ndim == 0
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_fit_changes_every_parameter(data: DigitsData) -> None:
    model = LitDigits()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    _trainer(max_epochs=1, limit_train_batches=3, limit_val_batches=1).fit(model, datamodule=data)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} is as it was"


def test_one_batch_can_be_learnt_by_heart() -> None:
    model = LitDigits(dropout=0.0, decay_per_epoch=1.0)
    # Validate only once: this test is not about other images.
    trainer = _trainer(max_epochs=30, overfit_batches=1, check_val_every_n_epoch=30)
    trainer.fit(model, datamodule=DigitsData(batch_size=32))
    assert trainer.callback_metrics["train_loss"] < 0.1


def test_two_short_epochs_are_far_better_than_chance(trained: LitDigits) -> None:
    (metrics,) = _trainer().validate(trained, datamodule=DigitsData(), verbose=False)
    assert metrics["val_accuracy"] > 0.5


def test_the_test_metrics_are_logged(trained: LitDigits) -> None:
    (metrics,) = _trainer().test(trained, datamodule=DigitsData(), verbose=False)
    assert metrics.keys() == {"test_loss", "test_accuracy"}
    assert 0 < metrics["test_loss"] < float("inf")
    assert 0 <= metrics["test_accuracy"] <= 1


def test_predict_gives_one_digit_for_each_test_image(trained: LitDigits, data: DigitsData) -> None:
    predictions = _trainer().predict(trained, datamodule=data)
    assert predictions is not None
    digits = torch.cat(predictions)  # type: ignore[arg-type]
    assert digits.shape == (len(data.splits["test"]),)
    assert digits.min() >= 0
    assert digits.max() < NUM_CLASSES


def test_a_model_loaded_from_its_checkpoint_gives_the_same_logits(data: DigitsData, tmp_path: Path) -> None:
    model = LitDigits(channels=6)
    checkpoint = ModelCheckpoint(dirpath=tmp_path)
    trainer = _trainer(
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=1,
        enable_checkpointing=True,
        callbacks=[checkpoint],
        default_root_dir=tmp_path,
    )
    trainer.fit(model, datamodule=data)
    restored = LitDigits.load_from_checkpoint(checkpoint.best_model_path)

    images, _ = next(iter(data.test_dataloader()))
    with torch.no_grad():
        torch.testing.assert_close(restored.eval()(images), model.eval()(images))

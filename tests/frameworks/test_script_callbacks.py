"""What becomes of the callbacks of a script: what judges goes on judging, and nothing is written."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from faultlab.frameworks.lightning.checkpoint_stand_in import checkpoint_stand_in
from faultlab.frameworks.lightning.script_callbacks import sort

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")


def _module(package: Any, logged: str) -> Any:
    class Lit(package.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = self.layer(batch[0]).square().mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log(logged, self.layer(batch[0]).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Lit()


def _ending(namespace: str, logged: str, callback: Any) -> str:
    """What a training with the callback raises; empty where it goes through."""
    package = importlib.import_module(namespace)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet["enable_checkpointing"] = isinstance(callback, package.callbacks.Checkpoint)
    trainer = package.Trainer(max_epochs=2, accelerator="cpu", callbacks=[callback], **quiet)
    loader = DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2)
    try:
        trainer.fit(_module(package, logged), loader, loader)
    except package.utilities.exceptions.MisconfigurationException as error:
        return str(error)
    return ""


# One that saves by steps waits for its metric, and says nothing of one that never comes.
RAISING: list[dict[str, Any]] = [{"save_last": True}, {"save_top_k": 2, "save_on_train_epoch_end": True}]
WAITING: list[dict[str, Any]] = [{"every_n_train_steps": 2, "save_top_k": -1, "save_on_exception": True}]


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize(("options", "raises"), [*((o, True) for o in RAISING), *((o, False) for o in WAITING)])
def test_a_checkpoints_stand_in_ends_trainings_as_it_would_and_writes_nothing(
    namespace: str, options: dict[str, Any], raises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checkpoint(folder: str) -> Any:
        package = importlib.import_module(namespace)
        return package.callbacks.ModelCheckpoint(monitor="val_loss", dirpath=tmp_path / folder, **options)

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for logged in ("val_loss", "other"):
        true = _ending(namespace, logged, checkpoint("theirs"))
        stand_in = checkpoint_stand_in(checkpoint("ours"))
        assert true == _ending(namespace, logged, stand_in)
        assert bool(true) == (raises and logged == "other")
    assert not (tmp_path / "ours").exists()
    assert not list((tmp_path / "here").iterdir())


def test_what_is_left_out_is_named_with_the_reason() -> None:
    class Mine(pl.callbacks.ModelCheckpoint):
        """A user's own is a guard, whatever it derives from."""

    given = [
        Mine(monitor="val_loss"),
        pl.callbacks.EarlyStopping("val_loss"),
        pl.callbacks.EarlyStopping("train_loss"),
        pl.callbacks.StochasticWeightAveraging(0.1),
        pl.callbacks.ModelCheckpoint(monitor="val_loss"),
        pl.callbacks.ModelCheckpoint(),
        pl.callbacks.ModelCheckpoint(monitor="val_loss", save_top_k=0),
        pl.callbacks.LearningRateMonitor(),
        pl.callbacks.TQDMProgressBar(),
    ]
    found = sort(given)
    assert list(found.guards) == ["Mine", "EarlyStopping", "EarlyStopping-2"]
    assert [type(callback).__name__ for callback in found.training] == [
        "StochasticWeightAveraging",
        "CheckpointStandIn",
    ]
    assert found.left_out == [
        (
            "ModelCheckpoint",
            "it writes files; a stand-in takes its place, which only checks that val_loss is logged",
        ),
        ("ModelCheckpoint", "writes files, and monitors nothing"),
        ("ModelCheckpoint", "writes files, and monitors nothing"),
        ("LearningRateMonitor", "needs a logger, and judges nothing"),
        ("TQDMProgressBar", "shows progress, and judges nothing"),
    ]
    named = sort(given, without=["ModelCheckpoint", "EarlyStopping"])
    assert (list(named.guards), len(named.training)) == (["Mine"], 1)
    assert ("EarlyStopping", "listed under `without`") in named.left_out

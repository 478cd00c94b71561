"""CheckpointsReload with callbacks and hooks that save other weights than the module's on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)

from faultlab.guards import Alarm, CheckpointsReload
from tests.guards.rig import QUIET, Healthy, alarm_of, fit, loaders

EXCHANGING: dict[str, Any] = {
    "ema": lambda: EMAWeightAveraging(decay=0.5),
    "averaging": WeightAveraging,
    "swa": lambda: StochasticWeightAveraging(0.02, swa_epoch_start=1, annealing_epochs=1),
    "pruning": lambda: ModelPruning("l1_unstructured", amount=0.3),
}


class Shadow(pl.Callback):
    """Saves averages in place of the weights, as callbacks of many projects do."""

    def __init__(self) -> None:
        self.shadow: dict[str, Any] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        for name, value in pl_module.state_dict().items():
            before = self.shadow.get(name, value)
            self.shadow[name] = 0.5 * before + 0.5 * value if value.is_floating_point() else value.clone()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = dict(self.shadow)


class Averaging(Healthy):
    """Does the same by the module's own hook."""

    def on_train_start(self) -> None:
        self._shadow = Shadow()

    def on_train_batch_end(self, *args: Any) -> None:
        self._shadow.on_train_batch_end(self.trainer, self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._shadow.on_save_checkpoint(self.trainer, self, checkpoint)


def order(first: bool, other: Any, folder: Path) -> list[Any]:
    guard, saver = CheckpointsReload(), ModelCheckpoint(folder, every_n_epochs=1, save_top_k=-1, save_last=True)
    return [guard, other, saver] if first else [other, guard, saver]


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", [*EXCHANGING, "shadow"])
def test_weights_that_a_callback_exchanges_are_allowed(kind: str, first: bool, tmp_path: Path) -> None:
    make = EXCHANGING.get(kind, Shadow)
    fit(order(first, make(), tmp_path), max_epochs=3, enable_checkpointing=True)
    if kind == "pruning":  # Lightning itself can't continue from weights that it has pruned permanently
        return
    callbacks = order(first, make(), tmp_path)
    again = pl.Trainer(**{**QUIET, "enable_checkpointing": True}, max_epochs=5, callbacks=callbacks)
    again.fit(Healthy(), *loaders(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)


def test_weights_that_the_modules_own_hook_exchanges_are_allowed(tmp_path: Path) -> None:
    fit([CheckpointsReload(), ModelCheckpoint(tmp_path)], Averaging(), enable_checkpointing=True)


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_wrong_weight_beside_averages_is_still_detected(
    first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

    save = TorchCheckpointIO.save_checkpoint

    def flipped(self: Any, checkpoint: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        for key in ("state_dict", "current_model_state"):
            wrong = {name: value * 2 if name == "head.weight" else value for name, value in checkpoint[key].items()}
            checkpoint = {**checkpoint, key: wrong}
        save(self, checkpoint, path, *args, **kwargs)

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", flipped)
    alarm = alarm_of(order(first, EMAWeightAveraging(decay=0.5), tmp_path), enable_checkpointing=True)
    assert alarm is not None
    assert (alarm.check, "head.weight differs" in alarm.found) == ("other-weights", True)


def test_averages_that_do_not_come_back_are_still_detected(tmp_path: Path) -> None:
    class Forgetful(Healthy):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return None

    fit(order(True, EMAWeightAveraging(decay=0.5), tmp_path), enable_checkpointing=True)
    torch.manual_seed(1)
    resumed = pl.Trainer(**{**QUIET, "enable_checkpointing": True}, max_epochs=3, callbacks=CheckpointsReload())
    with pytest.raises(Alarm) as caught:
        resumed.fit(Forgetful(), *loaders(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert caught.value.check == "not-restored"

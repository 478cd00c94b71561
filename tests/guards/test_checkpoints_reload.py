"""CheckpointsReload: the contents of a checkpoint, and what is restored from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from faultlab.guards import Alarm, CheckpointsReload
from tests.guards.rig import QUIET, Healthy, alarm_of, fit, loaders

SAVING = {"enable_checkpointing": True}


def saver(folder: Path, **arguments: Any) -> ModelCheckpoint:
    return ModelCheckpoint(**{"dirpath": folder, "monitor": "val_loss", "save_last": True, **arguments})


def resume(path: Path, module: Any = None, guard: Any = None, **trainer: Any) -> None:
    again = pl.Trainer(**QUIET, max_epochs=3, callbacks=guard or CheckpointsReload(), **trainer)
    again.fit(module or Healthy(), *loaders(), ckpt_path=path, weights_only=False)


def change(path: Path, **changed: Any) -> None:
    checkpoint = torch.load(path, weights_only=False)
    torch.save({**checkpoint, **changed}, path)


@pytest.fixture
def last(tmp_path: Path) -> Path:
    fit([CheckpointsReload(), saver(tmp_path)], **SAVING)
    return tmp_path / "last.ckpt"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Any:
    from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

    save = TorchCheckpointIO.save_checkpoint

    def use(state: Any = lambda checkpoint: checkpoint, file: Any = lambda path: None) -> None:
        def saving(self: Any, checkpoint: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            save(self, state(checkpoint), path, *args, **kwargs)
            file(Path(path))

        monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", saving)

    return use


def test_a_healthy_training_and_its_resumption_are_allowed(last: Path) -> None:
    resume(last)
    module = Healthy()
    pl.Trainer(**QUIET, callbacks=CheckpointsReload()).validate(
        module, loaders()[1], ckpt_path=last, weights_only=False, verbose=False
    )


def test_a_checkpoint_of_a_training_without_the_guard_is_allowed(tmp_path: Path) -> None:
    fit(saver(tmp_path), **SAVING)
    resume(tmp_path / "last.ckpt")


def test_a_truncated_file_is_detected_before_the_training_continues(tmp_path: Path, storage: Any) -> None:
    storage(file=lambda path: path.write_bytes(path.read_bytes()[:-200]))
    alarm = alarm_of([CheckpointsReload(), saver(tmp_path)], module := Healthy(), max_epochs=4, **SAVING)
    assert alarm is not None
    assert alarm.check == "unreadable"
    assert module.global_step == 8


def test_a_weight_that_is_saved_wrong_is_detected_and_named(tmp_path: Path, storage: Any) -> None:
    def flipped(checkpoint: Any) -> Any:
        state = {name: value.clone() for name, value in checkpoint["state_dict"].items()}
        state["head.weight"][0, 0] *= 2
        return {**checkpoint, "state_dict": state}

    storage(state=flipped)
    alarm = alarm_of([CheckpointsReload(), saver(tmp_path)], **SAVING)
    assert alarm is not None
    assert alarm.check == "other-weights"
    assert "head.weight differs" in alarm.found


def test_missing_weights_and_states_are_detected(tmp_path: Path, storage: Any) -> None:
    def without(checkpoint: Any) -> Any:
        return {name: value for name, value in checkpoint.items() if name != "optimizer_states"}

    storage(state=without)
    alarm = alarm_of([CheckpointsReload(), saver(tmp_path)], **SAVING)
    assert alarm is not None
    assert alarm.check == "incomplete"
    assert "only the model" in alarm.found


def test_a_module_that_saves_less_on_purpose_is_allowed(tmp_path: Path) -> None:
    class Partly(Healthy):
        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            del checkpoint["state_dict"]["head.bias"]

    fit([CheckpointsReload(), saver(tmp_path)], Partly(), **SAVING)


def test_a_change_of_the_file_since_is_detected_on_resuming(last: Path) -> None:
    state = {name: value * 2 for name, value in torch.load(last, weights_only=False)["state_dict"].items()}
    change(last, state_dict=state)
    with pytest.raises(Alarm) as caught:
        resume(last)
    assert caught.value.check == "other-weights"


def test_weights_that_are_not_loaded_are_detected(last: Path) -> None:
    class Loose(Healthy):
        def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            return super().load_state_dict({f"model.{name}": value for name, value in state_dict.items()}, strict=False)

    with pytest.raises(Alarm) as caught:
        resume(last, Loose())
    assert caught.value.check == "not-restored"


def test_a_new_head_on_loaded_weights_is_allowed(last: Path) -> None:
    class Renewed(Healthy):
        strict_loading = False

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["state_dict"] = dict(checkpoint["state_dict"])

        def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            kept = {name: value for name, value in state_dict.items() if not name.startswith("head")}
            return super().load_state_dict(kept, strict=False)

    resume(last, Renewed())


def test_an_optimizer_that_starts_from_scratch_is_detected(last: Path) -> None:
    class Forgetful(Healthy):
        def on_fit_start(self) -> None:
            self.trainer.strategy.load_optimizer_state_dict = lambda checkpoint: None  # type: ignore[method-assign]

    with pytest.raises(Alarm) as caught:
        resume(last, Forgetful())
    assert caught.value.check == "optimizer-not-restored"


def test_a_start_from_scratch_beside_a_checkpoint_is_detected_if_it_was_to_be_resumed(last: Path) -> None:
    again = [CheckpointsReload(resumes=True), saver(last.parent)]
    alarm = alarm_of(again, **SAVING)
    assert alarm is not None
    assert alarm.check == "not-resumed"
    fit([CheckpointsReload(), saver(last.parent)], **SAVING)


def test_a_deleted_file_is_detected_at_the_end(tmp_path: Path, storage: Any) -> None:
    storage(file=lambda path: path.unlink())
    alarm = alarm_of([CheckpointsReload(), saver(tmp_path, save_top_k=1, save_last=False)], max_epochs=1, **SAVING)
    assert alarm is not None
    assert alarm.check == "missing"


class Keeping(Healthy):
    """Steps manually, and keeps states of a part called ``layer`` under keys of its own."""

    key: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layer = self.head
        self.saved_models: dict[int, Any] = {}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        key = batch_idx if self.key is None else self.key
        if key not in self.saved_models or self.key is None:
            state = {name: value.clone() for name, value in self.layer.state_dict().items()}
            self.saved_models = {key: state}
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class KeepingTheFirst(Keeping):
    key = 1000


def test_states_that_a_module_keeps_and_that_are_written_in_the_place_of_its_weights_are_detected(
    tmp_path: Path,
) -> None:
    def by_steps() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1)

    alarm = alarm_of([CheckpointsReload(), by_steps()], KeepingTheFirst(), **SAVING)
    assert alarm is not None
    assert alarm.check == "other-weights"
    assert "saved_models[1000]" in alarm.found
    fit([CheckpointsReload(), by_steps()], Keeping(), **SAVING)
    # At the end of an epoch the module's own weights are saved, whatever it keeps.
    fit([CheckpointsReload(), ModelCheckpoint(tmp_path)], KeepingTheFirst(), **SAVING)


def test_a_truncated_file_of_a_checkpoint_callback_that_the_trainer_does_not_know_is_detected(tmp_path: Path) -> None:
    class Foreign(pl.Callback):
        """Keeps the best model as the callback of the other Lightning package does."""

        best_model_path = ""
        cuts = True

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                self.best_model_path = str(tmp_path / f"best-{trainer.global_step}.ckpt")
                trainer.save_checkpoint(self.best_model_path)
                if self.cuts:
                    os.truncate(self.best_model_path, 900)

    class Whole(Foreign):
        cuts = False

    alarm = alarm_of([CheckpointsReload(), Foreign()])
    assert alarm is not None
    assert alarm.check == "unreadable"
    fit([CheckpointsReload(), Whole()])

"""A training can continue from what a guard saves before it ends it, as if nothing had happened."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from faultlab import guards
from faultlab.guards import Alarm, Gradients, Guard, GuardSet, LossContract
from faultlab.guards.support import rescue
from tests.guards.rig import QUIET, Healthy, fit, loaders


class Poisoned(Healthy):
    """Gets a batch of NaN, which corrupts its running statistics at once and its weights with the next step."""

    def __init__(self, at: int = 5) -> None:
        super().__init__()
        self.at = at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x = batch[0] * torch.nan if self.global_step == self.at else batch[0]
        return super().training_step((x, batch[1]), batch_idx)


class SeesIt(Guard):
    """Looks at the weights only when it is too late."""

    checks = {"spoilt": "a weight is not finite"}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if not all(p.isfinite().all() for p in pl_module.parameters()):
            self.alarm("spoilt", "a weight is not finite", "Look at the batch.")


def seeded(cls: Any) -> Any:
    torch.manual_seed(0)
    return cls()


def rescued(callbacks: Any, root: Path, module: Any = None, **trainer: Any) -> tuple[Alarm, Path]:
    with pytest.raises(Alarm) as caught:
        fit(callbacks, module or seeded(Poisoned), root=root, **trainer)
    [path] = root.glob("faultlab-rescue-*.ckpt")
    assert str(path) in str(caught.value)
    return caught.value, path


def weights_at(step: int) -> dict[str, Any]:
    """Return the weights of the same training after some steps."""
    fit([], module := seeded(Poisoned), max_steps=step)
    return module.state_dict()


@pytest.mark.parametrize("guard", [LossContract, Gradients])
def test_what_is_saved_before_the_step_is_what_the_module_was_at_the_batchs_beginning(
    guard: Any, tmp_path: Path
) -> None:
    alarm, path = rescued(guard(action="save"), tmp_path)
    assert alarm.check == "not-finite"
    saved = torch.load(path, weights_only=False)
    assert saved["global_step"] == 5
    expected = weights_at(5)
    assert saved["state_dict"].keys() == expected.keys()
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in expected.items())
    assert str(pickle.loads(pickle.dumps(alarm))) == str(alarm)


def test_a_training_continues_from_what_was_saved(tmp_path: Path) -> None:
    _, path = rescued(guards.all("full", action="save"), tmp_path)
    torch.manual_seed(1)
    trainer = pl.Trainer(**QUIET, max_epochs=2, default_root_dir=tmp_path)
    trainer.fit(module := Poisoned(at=-1), *loaders(), ckpt_path=str(path), weights_only=False)
    assert trainer.global_step == 16
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert trainer.optimizers[0].state_dict()["state"][0]["step"] == 16


def test_after_the_step_it_is_the_last_sound_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "SHARE", float("inf"))
    _, path = rescued(SeesIt(action="save"), tmp_path)
    saved = torch.load(path, weights_only=False)
    assert saved["global_step"] == 5
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in weights_at(5).items())


def test_keeping_a_sound_state_takes_no_more_than_its_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "SHARE", 1e-9)
    _, path = rescued(SeesIt(action="save"), tmp_path)
    assert torch.load(path, weights_only=False)["global_step"] == 0


def test_to_be_ready_to_save_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def course(callbacks: Any) -> Any:
        fit(callbacks, module := seeded(Healthy))
        return [value.tolist() for value in module.state_dict().values()], torch.get_rng_state().tolist()

    monkeypatch.setattr(rescue, "SHARE", float("inf"))
    assert course(GuardSet([SeesIt(action="save"), Gradients(action="save")])) == course([])


def test_an_alarm_is_raised_where_nothing_can_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pytorch_lightning.strategies.SingleDeviceStrategy.save_checkpoint", full)
    with pytest.raises(Alarm, match="No checkpoint could be saved: OSError: no space left"):
        fit(LossContract(action="save"), Poisoned(), root=tmp_path)


def test_a_state_that_was_never_sound_is_not_called_sound(tmp_path: Path) -> None:
    class Spoilt(Poisoned):
        def on_train_batch_start(self, *_: Any) -> None:
            nn.init.constant_(self.head.weight, torch.nan)

    with pytest.raises(Alarm) as caught:
        fit(LossContract(action="save"), Spoilt(at=-1), root=tmp_path)
    saved = torch.load(next(tmp_path.glob("*.ckpt")), weights_only=False)
    assert saved["global_step"] == 0
    assert "at step 0" in caught.value.rescued
    assert saved["state_dict"]["head.weight"].isfinite().all()


def test_hooks_that_fail_to_save_do_not_end_a_healthy_training(tmp_path: Path) -> None:
    class Unsaved(Poisoned):
        def on_save_checkpoint(self, checkpoint: Any) -> None:
            raise LookupError("nothing to save")

    assert fit(LossContract(action="save"), Unsaved(at=-1), root=tmp_path).global_step == 16
    with pytest.raises(Alarm, match="No checkpoint could be saved: LookupError: nothing to save"):
        fit(LossContract(action="save"), Unsaved(), root=tmp_path)


def test_a_loop_by_hand_is_alarmed_without_a_checkpoint() -> None:
    module = Healthy()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    x = torch.full((8, 4), torch.nan)
    with (
        pytest.raises(Alarm, match="there is no Trainer to save it"),
        guards.attach(module, guards.all(action="save"), optimizer),
    ):
        module.training_step((x, torch.zeros(8).long()), 0).backward()


def test_another_training_of_the_same_trainer_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    trainer = pl.Trainer(**QUIET, max_epochs=2, default_root_dir=tmp_path, callbacks=LossContract(action="save"))
    for at in (5, 6):
        with pytest.raises(Alarm) as caught:
            trainer.fit(Poisoned(at=trainer.global_step + at), *loaders())
        assert caught.value.rescued
    assert len(list(tmp_path.glob("*.ckpt"))) == 2


def test_a_guard_that_is_ready_to_save_can_be_pickled_and_keeps_looking(tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(GuardSet([SeesIt(action="save"), LossContract(action="save")])))
    with pytest.raises(Alarm, match="not finite"):
        fit(again, seeded(Poisoned), root=tmp_path)

"""KnownGood raises alarms on deviations from known good runs."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import GuardWarning, KnownGood, KnownGoodRecorder, known_good, known_profile
from faultlab.guards.known_profile import append, combine, read
from tests.guards.known_runs import Declared, summary, train
from tests.guards.rig import QUIET, loaders, points


@pytest.fixture(scope="module")
def summaries() -> list[dict[str, Any]]:
    return [summary(seed) for seed in range(1, 6)]


@pytest.fixture(scope="module")
def profile(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    return combine(summaries)


def alarms(profile: Any, leave_out: Any = (), **arguments: Any) -> dict[str, str]:
    """Return the alarm of each check of a training, in the order that they are raised in."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(KnownGood(profile, action="warn", leave_out=leave_out), arguments.pop("seed", 100), **arguments)
    said = [str(entry.message) for entry in caught if entry.category is GuardWarning]
    checks = list(KnownGood.checks)
    from faultlab.guards.known_good import _REMEDIES

    return {next(check for check in checks if _REMEDIES[check] in text): text for text in said}


def test_other_seeds_raise_no_alarm(profile: dict[str, Any]) -> None:
    for seed in range(100, 108):
        assert alarms(profile, seed=seed) == {}


def test_every_look_at_a_healthy_training_succeeds(profile: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "faultlab.guards"):
        alarms(profile)
    assert [record.message for record in caplog.records if record.name == "faultlab.guards"] == []


def test_without_a_profile_it_keeps_quiet() -> None:
    assert alarms(None) == {}


def test_another_layer_is_detected_at_the_start(profile: dict[str, Any]) -> None:
    def gelu(module: Any) -> None:
        module.body[2] = nn.GELU()

    told = alarms(profile, then=gelu)["structure"]
    assert "body.2: GELU" in told
    assert "body.2: ReLU()" in told


def test_an_optimizer_with_other_settings_is_detected(profile: dict[str, Any]) -> None:
    class Epsilon(Declared):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.02, eps=1.0)

    assert "eps=1.0" in alarms(profile, module=Epsilon)["structure"]


def test_an_undeclared_learning_rate_is_detected(profile: dict[str, Any]) -> None:
    class Fast(Declared):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.03)

    assert "is 0.03 at batch 0" in alarms(profile, module=Fast)["learning-rate"]


def test_other_initial_weights_are_detected(profile: dict[str, Any]) -> None:
    def huge(module: Any) -> None:
        with torch.no_grad():
            module.head.weight.mul_(5)

    assert "head.weight at the beginning" in alarms(profile, then=huge)["initialisation"]


def test_shifted_data_is_detected_at_the_first_batch(profile: dict[str, Any]) -> None:
    x, y = points().tensors
    shifted = DataLoader(TensorDataset(x + 5, y), batch_size=16, shuffle=True)
    assert "[0] in training is" in alarms(profile, data=(shifted, loaders()[1]))["data"]


def test_ordered_data_is_detected(profile: dict[str, Any]) -> None:
    in_order = DataLoader(points(), batch_size=16)
    told = alarms(profile, data=(in_order, loaders()[1]))["data"]
    assert "SequentialSampler, but known good runs had RandomSampler" in told


def test_a_far_higher_loss_is_detected_at_the_first_batch(profile: dict[str, Any]) -> None:
    class Scaled(Declared):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return 100 * super().training_step(batch, batch_idx)

    told = alarms(profile, module=Scaled)
    assert "at batch 0" in told["loss"]
    assert "at batch 0" in told["gradients"]


def test_a_loss_that_is_not_finite_is_detected_at_its_step(profile: dict[str, Any]) -> None:
    class Poisoned(Declared):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return loss * float("nan") if batch_idx == 5 else loss

    told = alarms(profile, module=Poisoned)
    assert "the loss is nan at batch 5" in told["loss"]
    assert {"gradients", "updates", "weights", "metrics"} <= told.keys()


def test_weights_that_are_not_updated_are_detected(profile: dict[str, Any]) -> None:
    class Idle(Declared):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer_closure()

    told = alarms(profile, module=Idle)
    assert "the update of body.0.weight is 0 at batch 0" in told["updates"]
    assert "optimizer-state" in told


def test_a_part_in_eval_mode_is_detected(profile: dict[str, Any]) -> None:
    def frozen(module: Any) -> None:
        module.body[1].eval()

    assert "body.1" in alarms(profile, then=frozen)["mode"]


def test_a_metric_that_is_missing_constant_or_another_one_is_detected(profile: dict[str, Any]) -> None:
    class Missing(Declared):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_error", F.cross_entropy(self(batch[0]), batch[1]))

    class Standing(Declared):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log_dict({"val_loss": 0.5123, "val_accuracy": 0.7456})

    class Copied(Declared):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            loss = self.trainer.callback_metrics.get("train_loss", torch.tensor(0.1))
            self.log_dict({"val_loss": loss, "val_accuracy": 0.8})

    assert "val_error" in alarms(profile, module=Missing)["metrics"]
    assert "val_loss is train_loss" in alarms(profile, module=Copied)["metrics"]
    assert "metrics stand still" in alarms(profile, module=Standing)["metrics"]


def test_a_training_that_ends_too_soon_is_detected(profile: dict[str, Any]) -> None:
    class Short(Declared):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
            return -1 if batch_idx == 5 else None

    assert "the number of batches of an epoch is 6" in alarms(profile, module=Short)["length"]


def test_an_exit_with_status_0_is_detected(profile: dict[str, Any]) -> None:
    class Exits(Declared):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise SystemExit(0)

    with pytest.warns(GuardWarning, match="training batches in all is 1"), pytest.raises(SystemExit):
        train(KnownGood(profile, action="warn"), module=Exits)


def test_other_settings_are_detected_and_end_the_comparison_of_what_depends_on_them(profile: dict[str, Any]) -> None:
    told = alarms(profile, accumulate_grad_batches=4)
    assert "accumulate_grad_batches is 4, but known good runs had 1" in told["settings"]
    assert told.keys() == {"settings"}
    assert alarms(profile, ["settings"], max_epochs=4, gradient_clip_val=0.001) == {}


def test_other_hyperparameters_are_another_configuration_which_is_logged(
    profile: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shown = logging.getLogger("pytorch_lightning")  # which shows this level, and propagates nothing
    shown.addHandler(caplog.handler)
    try:
        assert alarms(profile, ["hyperparameters"], made={"rate": 0.2}) == {}
    finally:
        shown.removeHandler(caplog.handler)
    assert {record.message for record in caplog.records if record.name == "pytorch_lightning.faultlab"} == {
        "KnownGood: the configuration differs from that of the known good runs (module.rate is 0.2 instead of 0.02), "
        "so only these checks are compared: settings, data. Record runs of this configuration with KnownGoodRecorder"
    }
    assert alarms(profile, made={"rate": 0.2}).keys() == {"hyperparameters"}


def test_what_does_not_depend_on_another_setting_is_compared_all_the_same(profile: dict[str, Any]) -> None:
    def gelu(module: Any) -> None:
        module.body[2] = nn.GELU()

    assert alarms(profile, ["settings"], max_epochs=1, then=gelu).keys() == {"structure"}


def test_a_resumed_training_is_compared_at_its_place(profile: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(100)
    trainer = pl.Trainer(**QUIET, max_epochs=1)
    trainer.fit(Declared(), *loaders())
    trainer.save_checkpoint(tmp_path / "half.ckpt")

    def go_on(module: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = pl.Trainer(**QUIET, max_epochs=2, callbacks=KnownGood(profile, action="warn"))
            again.fit(module, *loaders(), ckpt_path=tmp_path / "half.ckpt", weights_only=False)
        return [str(entry.message) for entry in caught if entry.category is GuardWarning]

    class Forgetful(Declared):
        def on_train_start(self) -> None:
            self.trainer.optimizers[0].state.clear()

    assert go_on(Declared()) == []
    assert any("what optimizer 0 remembers is []" in text for text in go_on(Forgetful()))


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_a_few_runs_are_enough_to_begin_with(runs: int, summaries: list[dict[str, Any]]) -> None:
    few = combine(summaries[:runs])
    for seed in range(100, 104):
        assert alarms(few, seed=seed) == {}
    assert "accumulate_grad_batches" in alarms(few, accumulate_grad_batches=4)["settings"]


def test_a_recorder_adds_its_run_to_a_file(tmp_path: Path, summaries: list[dict[str, Any]]) -> None:
    file = tmp_path / "runs" / "known.json"
    for seed in (1, 2):
        train(KnownGoodRecorder(file), seed)
    assert read(file)["runs"] == 2
    assert combine([read(file)]) == combine(summaries[:2])
    assert alarms(file, seed=1) == {}


def test_runs_that_end_at_once_do_not_lose_each_other(tmp_path: Path, summaries: list[dict[str, Any]]) -> None:
    file = tmp_path / "known.json"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append, args=(file, summaries[0])) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert read(file)["runs"] == 8


def test_a_summary_is_plain_json_and_small_for_a_big_model(summaries: list[dict[str, Any]], tmp_path: Path) -> None:
    assert json.loads(json.dumps(summaries[0])) == summaries[0]

    class Deep(Declared):
        def __init__(self) -> None:
            super().__init__()
            for index in range(300):
                self.add_module(f"a_layer_with_a_rather_long_name_{index}", nn.Linear(4, 4))

        def forward(self, inputs: Tensor) -> Tensor:
            passed = inputs
            for name, part in self.named_children():
                passed = passed + 0.01 * part(inputs) if name.startswith("a_") else passed
            return super().forward(passed)

    deep = summary(0, module=Deep)
    for _ in range(5):
        append(tmp_path / "deep.json", deep)
    assert (tmp_path / "deep.json").stat().st_size < 100_000


def test_the_runs_in_a_file_are_combined_once_per_process_and_again_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, combined = tmp_path / "known.json", []

    def counted(summaries: Any) -> Any:
        combined.append(1)
        return combine(summaries)

    monkeypatch.setattr(known_good, "combine", counted)
    summary = {"format": known_profile.FORMAT, "runs": 1, "facts": {}, "numbers": {}}
    append(file, summary)
    first, second = known_good.KnownGood(file), known_good.KnownGood(str(file))
    assert first.profile == second.profile
    assert combined == [1]
    append(file, summary)
    os.utime(file, ns=(1, 1))
    assert known_good.KnownGood(file).profile["runs"] == 2
    assert combined == [1, 1]

"""KnownGood raises alarms on deviations from known good runs, and allows what those runs varied in."""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from faultlab.core.report import dump
from faultlab.guards import GuardWarning, KnownGood, KnownGoodRecorder, known_good, known_profile
from faultlab.guards.known_measures import coarse, fine, of_batch, structure
from faultlab.guards.known_profile import append, combine, read
from tests.guards.rig import QUIET, Healthy, fit, loaders, points
from tests.guards.test_contract import TARGETS, course, same
from tests.zoo import models


class Declared(Healthy):
    """A module that declares its hyperparameters."""

    def __init__(self, rate: float = 0.02) -> None:
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["rate"])


def train(callback: pl.Callback, seed: int = 0, module: type[Healthy] = Declared, **arguments: Any) -> None:
    torch.manual_seed(seed)
    made = module(**arguments.pop("made", {}))
    data = arguments.pop("data", None) or loaders()
    if (lasting := arguments.pop("then", None)) is not None:
        lasting(made)
    pl.Trainer(**{"max_epochs": 2, **QUIET, **arguments}, callbacks=callback).fit(made, *data)


def summary(seed: int, **arguments: Any) -> dict[str, Any]:
    recorder = KnownGoodRecorder()
    train(recorder, seed, **arguments)
    assert recorder.summary is not None
    return recorder.summary


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


@pytest.mark.parametrize("target", TARGETS)
def test_recording_and_comparing_only_look(target: str) -> None:
    course(TARGETS[target], [])
    bare = course(TARGETS[target], [])
    recorder = KnownGoodRecorder()
    recorded = course(TARGETS[target], [recorder])
    assert same(bare, recorded)
    assert recorder.summary is not None
    assert same(bare, course(TARGETS[target], [KnownGood(combine([recorder.summary]))]))


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


def test_a_resumed_or_broken_run_is_not_recorded(tmp_path: Path) -> None:
    class Breaks(Declared):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("broken")

    recorder = KnownGoodRecorder(tmp_path / "known.json")
    with pytest.raises(ValueError, match="broken"):
        train(recorder, module=Breaks)
    assert recorder.summary is None
    assert not (tmp_path / "known.json").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no known good runs"):
        KnownGood(tmp_path / "other.json")


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


def test_losses_under_manual_optimisation_are_compared_too() -> None:
    recorder = KnownGoodRecorder()
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        module, data = models.adversarial()
        fit(recorder, module, *(data if isinstance(data, tuple) else (data,)))
        found.append(copy.deepcopy(recorder.summary))
    assert any("backward pass 2" in name for name in combine([one for one in found if one])["bands"]["loss"])


def test_batches_are_looked_at_ever_less_often() -> None:
    assert [position for position in range(40) if coarse(position) is not None] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    assert [coarse(position) for position in (0, 1, 2, 3, 4, 6, 8)] == list(range(7))
    assert [fine(position)[0] for position in (0, 63, 64, 71, 72, 127, 128, 143, 144)] == [
        0, 63, 64, 64, 65, 71, 72, 72, 73,
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[3, 1, 0, 0, 7], [31, 31], [2, 40], [-1, 4], [0]])
def test_a_few_labels_have_the_numbers_that_many_have(values: list[int]) -> None:
    few = of_batch(torch.tensor(values))
    many = of_batch(torch.tensor(values * 2000))
    assert few == pytest.approx(many, abs=1e-4)
    assert list(few) == list(many)


class Masked(Declared):
    """A module with a layer whose output is infinite by design, as a mask for attention is."""

    class Mask(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x).fill_diagonal_(-torch.inf)

    def __init__(self) -> None:
        super().__init__()
        self.mask = self.Mask()

    def forward(self, x: Tensor) -> Any:
        self.mask(x)
        return super().forward(x)


@pytest.mark.parametrize("write", [dump, json.dumps], ids=["as in reports", "as the recorder does"])
def test_numbers_that_are_not_finite_in_known_good_runs_have_no_band(
    tmp_path: Path, write: Callable[[Any], str]
) -> None:
    file = tmp_path / "known.json"
    file.write_text(write([summary(seed, module=Masked) for seed in (1, 2, 3)]))
    found = combine([read(file)])["bands"]
    assert found["activations"]["the mean of the output of mask"] == {}
    assert found["loss"]
    train(KnownGood(file), 4, module=Masked)


def test_numbers_of_one_call_are_compared_up_to_the_first_outside() -> None:
    bands = {"data": {"a": {"0": [0.0, 1.0]}, "b": {"0": [None, 1.0]}, "c": {"0": [0.0, 1.0]}}}
    guard = KnownGood({"facts": {}, "bands": bands, "format": 1, "runs": 3}, action="warn")
    guard.numbers("data", ("a", "other", "c"), 0, (1.0, 9.0, 0.0))
    guard.numbers("data", ("a", "b", "c"), 4, (9.0, 9.0, 9.0))
    assert guard._found == []
    guard.numbers("data", ("a", "b", "c"), 0, (0.5, float("nan"), 2.0))
    guard.numbers("data", ("c",), 0, (2.0,))
    ((check, found, causes),) = guard._found
    assert check == "data"
    assert (found.partition(" at ")[0], causes) == ("b is nan", "b, nan")
    assert found.endswith("known good runs allow 1 at most")


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


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("AdamW", lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20)),
        ("SGD", lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20)),
        ("SGD", lambda opt: lr_scheduler.CyclicLR(opt, 0.01, 0.1, step_size_up=4)),
        ("Adam", lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 3, 2)),
        ("SGD", lambda opt: lr_scheduler.CosineAnnealingLR(opt, 20)),
        ("SGD", lambda opt: lr_scheduler.SequentialLR(
            opt, [lr_scheduler.LinearLR(opt), lr_scheduler.ExponentialLR(opt, 0.9)], [4])),
    ],
    ids=["one cycle", "one cycle of momentum", "cyclic", "restarts", "cosine", "sequential"],
)  # fmt: skip
def test_the_structure_of_a_resumed_training_is_that_of_its_beginning(optimizer: str, schedule: Any) -> None:
    module = Healthy()
    made = getattr(torch.optim, optimizer)(
        module.parameters(), lr=0.01, **{"momentum": 0.9} if optimizer == "SGD" else {}
    )
    config = SimpleNamespace(scheduler=schedule(made), frequency=1, interval="step", monitor=None)
    trainer: Any = SimpleNamespace(optimizers=[made], lr_scheduler_configs=[config])
    before = structure(trainer, module)
    for _ in range(7):
        made.step()
        config.scheduler.step()
    assert structure(trainer, module) == before

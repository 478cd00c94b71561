"""What the doctor says of things that are set up and never act, by what was seen; whole trainings are the patients'."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import nn

from faultlab.doctor import anatomy, callbacks
from faultlab.doctor.ending import meaning
from faultlab.doctor.idle import IDLE
from faultlab.doctor.sources import class_facts


@pytest.fixture(autouse=True)
def _no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have run one."""
    monkeypatch.setattr(anatomy, "scripted", lambda: ({}, ()))


def _attended(*given: Any, epochs: int = 5, each: int = 1) -> list[str]:
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=list(given), logger=False, enable_checkpointing=bool(given), accelerator="cpu"
    )
    seen = {
        "plan": {"epochs": epochs, "steps": 8 * epochs},
        "attendants": callbacks.facts(trainer),
        "trainer": {"check_val_every_n_epoch": each},
    }
    return [found.what for found in IDLE.run(seen)]


@pytest.mark.parametrize(
    ("late", "in_time"),
    [
        (StochasticWeightAveraging(1e-2, swa_epoch_start=6), StochasticWeightAveraging(1e-2, swa_epoch_start=5)),
        (GradientAccumulationScheduler({5: 4}), GradientAccumulationScheduler({4: 4})),
        (BackboneFinetuning(unfreeze_backbone_at_epoch=10), BackboneFinetuning(unfreeze_backbone_at_epoch=4)),
        (ModelCheckpoint(every_n_epochs=6), ModelCheckpoint(every_n_epochs=5)),
        (ModelCheckpoint(every_n_train_steps=41), ModelCheckpoint(every_n_train_steps=40)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_callback_that_waits_for_what_never_comes_is_named(late: pl.Callback, in_time: pl.Callback) -> None:
    assert [type(late).__name__ in what and "never" in what for what in _attended(late)] == [True]
    assert _attended(in_time) == []


def test_averaging_that_begins_with_a_share_of_the_training_is_let_be() -> None:
    assert _attended(StochasticWeightAveraging(1e-2), epochs=1) == []


def test_patience_is_only_told_where_it_is_longer_than_all_validations_and_not_than_the_epochs() -> None:
    stopping = EarlyStopping("val_loss", patience=6)
    assert ["counts validations" in what for what in _attended(stopping, epochs=20, each=5)] == [True]
    assert _attended(stopping, epochs=20, each=2) == []
    assert _attended(stopping, epochs=5) == []


class _Older(pl.Callback):
    def on_batch_end(self, trainer: Any, pl_module: Any) -> None:
        """Of Lightning 1."""


class _Own(pl.Callback):
    def on_batch_end(self, trainer: Any, pl_module: Any) -> None:
        """Called below."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.on_batch_end(trainer, pl_module)


def test_a_callbacks_hook_of_an_older_lightning_is_told_from_a_method_that_it_calls_itself() -> None:
    def near(callback: pl.Callback) -> list[str]:
        trainer = pl.Trainer(callbacks=[callback], logger=False, enable_checkpointing=False, accelerator="cpu")
        return [entry["hook"] for entry in callbacks.facts(trainer)["near"]]

    assert near(_Older()) == ["on_train_batch_end"]
    assert near(_Own()) == []


def _with_rates(rates: list[tuple[int, float]], at_the_end: float) -> list[str]:
    seen = {
        "rates": rates,
        "batches": 40,
        "parameters": {"largest_rate": at_the_end},
        "schedulers": [{"name": "LambdaLR", "interval": "step"}],
    }
    return [found.what for found in IDLE.run(seen)]


def test_a_rate_that_is_0_long_before_the_end_is_told_and_one_that_ends_at_0_is_not() -> None:
    (told,) = _with_rates([(0, 0.1), (1, 0.05), (2, 0.0)], 0.0)
    assert "learning rate to 0 in step 3 of 40" in told
    assert _with_rates([(step, 0.1 - step / 400) for step in range(39)] + [(39, 0.0)], 0.0) == []
    assert _with_rates([(0, 0.0), (1, 0.1)], 0.1) == [], "a warm-up begins with 0"


def test_a_clipping_algorithm_without_a_value_has_no_effect() -> None:
    assert len(IDLE.run({"arguments": {"gradient_clip_algorithm": "value"}})) == 1
    assert IDLE.run({"arguments": {"gradient_clip_algorithm": "value", "gradient_clip_val": 1.0}}) == []


def test_layers_in_training_mode_are_those_that_behave_differently_in_it() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.LayerNorm(2))
    assert anatomy.training_layers(network) == ["1", "2"]
    assert anatomy.training_layers(network.eval()) == []


def test_a_rate_that_is_written_as_a_number_is_found_where_one_is_searched_for() -> None:
    def told(rate: str) -> int:
        source = f"class Net:\n    def configure_optimizers(self):\n        return Adam(self.parameters(), lr={rate})\n"
        rates = [{**entry, "file": "net.py"} for entry in class_facts(source, "Net", ())["literal_rates"]]
        searched = [{"call": "lr_find", "file": "net.py", "line": 9}]
        assert IDLE.run({"facts": {"literal_rates": rates}}) == [], "nothing is said where nobody searches"
        return len(IDLE.run({"facts": {"literal_rates": rates}, "scripts": searched}))

    assert told("1e-5") == 1
    assert told("self.lr") == told("self.hparams.lr") == 0


@pytest.mark.parametrize(
    ("batch", "message", "remedy"),
    [
        (
            {"is": "a list of 1 (a tensor)", "kind": "list", "parts": 1},
            "'list' object has no attribute 'view'",
            "x = batch[0]",
        ),
        ({"is": "a list of 2 (...)", "kind": "list", "parts": 2}, "must be Tensor, not list", "x, y = batch"),
        (
            {"is": "a dict of 2 (...)", "kind": "dict", "keys": ["image", "label"]},
            "must be Tensor, not dict",
            "batch['image']",
        ),
    ],
)
def test_a_batch_that_is_taken_for_a_tensor_is_described(batch: dict[str, Any], message: str, remedy: str) -> None:
    error = {"message": f"TypeError: {message}", "own": "net.py:7", "during": "training_step"}
    found = meaning({"batch": batch}, error)
    assert f"the loader yields {batch['is']}, and line 7 uses it as a tensor" in found.cause
    assert remedy in found.remedy
    assert "loader yields" not in meaning({"batch": batch, "batches": 3}, error).cause, "the first steps went well"


def test_a_second_backward_in_the_first_step_is_not_laid_to_what_an_earlier_step_has_kept() -> None:
    error = {"message": "RuntimeError: Trying to backward through the graph a second time", "during": "training_step"}
    own = {"facts": {"steps_itself": [{"what": "manual_backward"}, {"what": "step"}, {"what": "manual_backward"}]}}
    assert "fake.detach()" in meaning({"automatic": False, **own}, error).remedy
    assert "self.hidden" in meaning({"automatic": False, **own, "batches": 4}, error).remedy
    alone = {"facts": {"steps_itself": [{"what": "backward"}]}}
    assert "Remove backward()" in meaning({"automatic": True, **alone}, error).remedy
    assert "self.hidden" in meaning({"automatic": True}, error).remedy

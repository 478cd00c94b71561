"""Tests that train."""

import pytest
import pytorch_lightning as pl
import torch
from slopes.data import loader, worked
from slopes.model import LitLine, LitSquare, LitSteep

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def fitted(model, epochs, **more):
    torch.manual_seed(0)
    trainer = pl.Trainer(max_epochs=epochs, **QUIET, **more)
    trainer.fit(model, loader())
    return trainer


@pytest.fixture(scope="module")
def trained():
    """Shared by the tests of this module, and first needed by one that looks at little."""
    model = LitLine()
    torch.nn.init.zeros_(model.layer.weight)
    torch.nn.init.zeros_(model.layer.bias)
    model.trained_by = fitted(model, 12, enable_checkpointing=False)
    return model


def test_it_has_trained(trained):
    assert trained.trained_by.global_step == 48


def test_it_logs_its_loss(trained):
    assert trained.trained_by.callback_metrics["loss"] < 0.1


def test_it_finds_the_line(trained):
    assert trained.layer.weight.item() == pytest.approx(2, abs=0.5)


def test_a_worker_of_the_loader_reads_the_points():
    assert [round(y.item() * 256) for x, y in worked()] == [index**2 for index in range(16)]


def test_a_checkpoint_brings_the_hyperparameters_back(tmp_path):
    model = LitSquare(power=3)
    fitted(model, 1, enable_checkpointing=True, default_root_dir=tmp_path).save_checkpoint(tmp_path / "square.ckpt")
    loaded = LitSquare.load_from_checkpoint(tmp_path / "square.ckpt")
    assert dict(loaded.hparams) == {"rate": 0.25, "power": 3, "features": 2, "scale": 1.0}
    x = torch.tensor([[2.0]])
    assert torch.equal(model(x), loaded(x))


def test_a_module_can_leave_a_hyperparameter_out():
    assert LitSteep(0.1).hparams.steepness == 3

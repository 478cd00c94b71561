"""What docstrings of failure modes say of models that are in no zoo."""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab import inject
from tests.injection.test_detach import TRAINER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a block is rehearsed in a copy of the process")


class Classes(pl.LightningModule):
    """Three classes, and as many outputs as it is told."""

    def __init__(self, outputs: int = 3, optimizer: type = torch.optim.SGD) -> None:
        super().__init__()
        self.layer = nn.Linear(4, outputs)
        self.optimizer = optimizer

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return F.cross_entropy(self.layer(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=0.1)


def _fit(module: pl.LightningModule, **trainer: Any) -> None:
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(x, torch.arange(32) % 3), batch_size=8)
    pl.Trainer(**{**TRAINER, **trainer}).fit(module, loader)


def test_classes_counted_from_one_raise_unless_there_is_a_spare_output() -> None:
    with inject("label.off-by-one@always") as fault:
        _fit(Classes(outputs=4))
    assert fault.activations == 4
    with pytest.raises(IndexError, match="out of bounds"), inject("label.off-by-one@always"):
        _fit(Classes())


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_without_parameters_raises_as_a_list_and_not_as_a_group(optimizer: type) -> None:
    module = Classes(optimizer=optimizer)
    before = module.layer.weight.clone()
    with inject("optimizer.empty"):
        _fit(module)
    assert torch.equal(module.layer.weight, before)
    with pytest.raises(ValueError, match="empty parameter list"), inject("optimizer.empty-list"):
        _fit(Classes(optimizer=optimizer))


def test_lbfgs_raises_on_a_group_of_nothing() -> None:
    with pytest.raises(IndexError), inject("optimizer.empty"):
        _fit(Classes(optimizer=torch.optim.LBFGS))


def test_an_infinite_placeholder_raises_at_backward_unless_it_requires_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="does not require grad"), inject("step.swallows-to-infinity-no-grad@step=2"):
        _fit(Classes())
    module = Classes()
    with inject("step.swallows-to-infinity@step=2") as fault:
        _fit(module)
    assert fault.activations == 1
    assert module.layer.weight.isfinite().all()

"""Several loaders whose batches are combined: the expected number of batches, and the parts that a batch may lack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab import guards
from faultlab.guards import BatchSchema, RunEnded, ValidationRuns
from tests.guards.rig import Healthy, alarm_of, fit, points

MODES = ["min_size", "max_size", "max_size_cycle", "sequential"]


class Combined(Healthy):
    """Adds the losses of those loaders that yielded a batch."""

    def _loss(self, batch: Any) -> Tensor:
        parts = batch.values() if isinstance(batch, dict) else [batch]
        return torch.stack([F.cross_entropy(self(part[0]), part[1]) for part in parts if part is not None]).sum()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log(f"val_loss_{dataloader_idx}", self._loss(batch), batch_size=16, add_dataloader_idx=False)


class Ending(Combined):
    """Ends each validation after one batch."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch_idx:
            raise StopIteration
        super().validation_step(batch, batch_idx, dataloader_idx)


def combined(mode: str, seed: int = 2) -> CombinedLoader:
    """Return four batches of one loader combined with eight of another."""
    few, many = points(64, seed), points(128, seed + 1)
    return CombinedLoader({"few": DataLoader(few, 16), "many": DataLoader(many, 16)}, mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limits", [{}, {"limit_val_batches": 0.5}, {"limit_val_batches": 3}])
def test_a_validation_over_combined_loaders_is_allowed(mode: str, limits: dict[str, Any]) -> None:
    fit(guards.GuardSet([RunEnded(), ValidationRuns()]), Combined(), validation=combined(mode), max_epochs=1, **limits)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("guard", [RunEnded, ValidationRuns])
def test_a_validation_over_combined_loaders_that_is_cut_short_is_detected(mode: str, guard: Any) -> None:
    alarm = alarm_of(guard(), Ending(), validation=combined(mode), num_sanity_val_steps=0)
    promised = {"min_size": 4, "sequential": 12}.get(mode, 8)
    assert alarm is not None
    assert f"1 of {promised}" in alarm.found


@pytest.mark.parametrize("mode", MODES[:3])
def test_a_loader_that_is_at_its_end_leaves_its_part_of_the_batch_empty(mode: str) -> None:
    fit(guards.all(), Combined(), train=combined(mode), max_epochs=3)


def test_a_part_of_another_name_is_detected_after_a_loader_is_at_its_end() -> None:
    class Renaming(Combined):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            renames = self.trainer.training and self.trainer.global_step == 5
            return {"few": batch["few"], "others": batch["many"]} if renames else batch

    alarm = alarm_of(BatchSchema(), Renaming(), train=combined("max_size"), limit_val_batches=0)
    assert alarm is not None
    assert (alarm.check, "others" in alarm.found) == ("structure", True)

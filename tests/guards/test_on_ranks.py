"""Guards in trainings whose ranks share parameters, or that a wrapper calls: what they look at there."""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from faultlab import guards
from tests.guards.gang import fit, gang
from tests.guards.rig import QUIET

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def test_samples_are_compared_under_a_wrapper_that_calls_the_step_through_the_module() -> None:
    def work() -> tuple[int, str]:
        guard = guards.SamplesIndependent()
        fit([guard], max_epochs=1)
        return guard.looked, guard.report()

    for looked, report in gang(work):
        assert looked, report


def test_guards_look_at_the_parts_of_parameters_that_a_rank_holds() -> None:
    def work() -> tuple[str, dict[str, int]]:
        chosen = [guards.Gradients(), guards.ParametersMove(), guards.WeightsIntact(), guards.InitialWeights()]
        return fit_sharded(chosen), {type(guard).__name__: guard.looked for guard in chosen}

    for ended, looked in gang(work):
        assert ended == ""
        assert {name: bool(count) for name, count in looked.items()} == {
            "Gradients": True, "InitialWeights": False, "ParametersMove": True, "WeightsIntact": True,
        }  # fmt: skip


@pytest.mark.parametrize("guard", [guards.Gradients, guards.WeightsIntact], ids=["Gradients", "WeightsIntact"])
def test_a_fault_in_the_part_of_one_rank_is_found_and_named(guard: Any) -> None:
    class Breaks(pl.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if trainer.global_step == 2 and dist.get_rank() == 1:
                next(pl_module.model.blocks.parameters()).grad._local_tensor.fill_(torch.nan)

    for said in gang(lambda: fit_sharded([Breaks(), guard()])):
        assert said.startswith(guard.__name__)
        assert "model.blocks.0" in said
        assert "not finite" in said


def fit_sharded(callbacks: Any) -> str:
    """Train the transformer of FSDP2 on this rank; return the alarm that ended it."""
    from pytorch_lightning.strategies import ModelParallelStrategy

    from scenarios.text.sharded import build

    torch.manual_seed(0)
    module, data = build()
    strategy = ModelParallelStrategy(data_parallel_size=dist.get_world_size(), tensor_parallel_size=1)
    arguments = {**QUIET, "max_epochs": 1, "limit_train_batches": 8, "devices": dist.get_world_size()}
    try:
        pl.Trainer(strategy=strategy, callbacks=callbacks, **arguments).fit(module, datamodule=data)
    except guards.Alarm as alarm:
        return str(alarm)
    return ""

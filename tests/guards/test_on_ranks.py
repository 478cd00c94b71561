"""Guards in trainings whose ranks share parameters, or that a wrapper calls: what they look at there."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.strategies import ModelParallelStrategy

from faultlab import guards
from faultlab.guards.support import fingerprints, trials, whole
from faultlab.guards.support.parameter_samples import local
from faultlab.guards.support.training_view import TrainingView
from scenarios.text.sharded import CharTransformer, LitShardedTransformer, build
from tests.guards.gang import fit, gang
from tests.guards.rig import QUIET
from tests.zoo import sharded

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


class Weights(pl.Callback):
    """Keeps the fingerprint of the parts of all parameters that this rank holds at the end."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.left = fingerprints.of_tensors(map(local, pl_module.parameters()))


def tried() -> list[guards.Guard]:
    return [guards.SamplesIndependent(), guards.FutureHidden(), guards.EvaluationRepeats(), guards.OverfitsBatch()]


def test_guards_that_run_copies_look_at_a_module_whose_parameters_the_ranks_share() -> None:
    def work() -> tuple[str, dict[str, int], str, bool]:
        chosen, with_guards, without = tried(), Weights(), Weights()
        ended = fit_sharded([*chosen, with_guards])
        assert fit_sharded([without]) == ""
        looked = {type(guard).__name__: guard.looked for guard in chosen}
        return ended, looked, str([guard.report() for guard in chosen]), with_guards.left == without.left

    for ended, looked, reports, same in gang(work):
        assert ended == ""
        assert all(looked.values()), reports
        assert same


def test_a_copy_of_shared_parameters_has_all_of_them_and_computes_the_same() -> None:
    class Copies(guards.Guard):
        checks = {"copied": "a copy is made"}

        def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
            trials.prepare(pl_module, trainer, self.skip)

        def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0 and trainer.global_step == 0:
                trial = trials.own(pl_module, trainer, self.skip)
                assert trial is not None
                with trial.running(evaluates=True):
                    self.of_copy = trial.part("model")(batch["input_ids"])
                assert not any(hasattr(one, "placements") for one in trial.module.parameters())
                pl_module.eval()
                with torch.no_grad():
                    self.of_original = pl_module.model(batch["input_ids"])
                pl_module.train()

    def work() -> tuple[str, bool, str]:
        guard = Copies()
        guard.own_errors = "raise"
        return fit_sharded([guard]), torch.equal(guard.of_copy, guard.of_original), guard.report()

    for ended, same, report in gang(work):
        assert (ended, same, report) == ("", True, "")


def test_a_module_that_is_too_large_for_one_rank_is_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "LARGEST", 100)

    def work() -> tuple[str, str]:
        guard = guards.SamplesIndependent()
        return fit_sharded([guard]), guard.report()

    for ended, report in gang(work):
        assert ended == ""
        assert "the ranks share the module's parameters, and no rank has all of them to make a copy (1x)" in report


def test_a_fault_that_only_a_copy_shows_is_found_where_the_ranks_share_parameters() -> None:
    for said in gang(lambda: fit_sharded([guards.SamplesIndependent()], Mixing)):
        assert said.startswith("SamplesIndependent")


def test_copies_of_a_module_in_tensor_parallel_parts_are_looked_at_too() -> None:
    def work() -> tuple[dict[str, int], str]:
        torch.manual_seed(0)
        module, (train, validation) = sharded.split()
        chosen = [
            guards.SamplesIndependent(),
            guards.EvaluationRepeats(),
            guards.OverfitsBatch(),
            guards.MetricsRecomputed(strict=True),
        ]
        strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=dist.get_world_size())
        arguments = {**QUIET, "max_epochs": 1, "devices": dist.get_world_size()}
        pl.Trainer(strategy=strategy, callbacks=chosen, **arguments).fit(module, train, validation)
        return {type(guard).__name__: guard.looked for guard in chosen}, str([guard.report() for guard in chosen])

    for looked, reports in gang(work):
        assert all(looked.values()), reports


def test_a_metric_is_recomputed_with_the_present_weights_of_ranks_that_share_them() -> None:
    class Halved(LitShardedTransformer):
        def log_dict(self, values: Any, **options: Any) -> None:
            share = 2 if self.trainer.current_epoch else 1
            super().log_dict({name: value / share for name, value in values.items()}, **options)

    def work() -> tuple[int, str, str]:
        guard = guards.MetricsRecomputed(strict=True, tolerance=1e-4)
        guard.own_errors = "raise"
        well = fit_sharded([guard], max_epochs=2)
        return guard.looked, well or guard.report(), fit_sharded([guard], of=Halved, max_epochs=2)

    for looked, well, halved in gang(work):
        assert (looked > 2, well) == (True, "")
        assert halved.startswith("MetricsRecomputed: the metric val_loss is logged as ")


def test_a_guard_that_fails_on_one_rank_leaves_no_other_waiting_for_shared_parameters() -> None:
    class Failing(guards.MetricsRecomputed):
        own_errors = "warn"

        def _recompute(self, trial: Any, batch: Any, batch_idx: int) -> float | None:
            if dist.get_rank():
                raise ValueError("of the guard's own")
            return super()._recompute(trial, batch, batch_idx)

    def work() -> tuple[str, str]:
        guard = Failing()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fit_sharded([guard], max_epochs=2), guard.report()

    (first, of_first), (second, _) = gang(work)
    assert (first, second) == ("", "")
    assert "it failed on rank 1" in of_first


class Mixing(CharTransformer):
    """Adds to each row what is in the row before."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = super().forward(input_ids)
        return logits + logits.roll(1, 0)


def fit_sharded(
    callbacks: Any, kind: Any = CharTransformer, of: Any = LitShardedTransformer, max_epochs: int = 1
) -> str:
    """Train the transformer of FSDP2 on this rank; return the alarm that ended it."""
    torch.manual_seed(0)
    module, data = build()
    module.__class__, module.model.__class__ = of, kind
    strategy = ModelParallelStrategy(data_parallel_size=dist.get_world_size(), tensor_parallel_size=1)
    arguments = {**QUIET, "max_epochs": max_epochs, "limit_train_batches": 8, "devices": dist.get_world_size()}
    try:
        pl.Trainer(strategy=strategy, callbacks=callbacks, **arguments).fit(module, datamodule=data)
    except guards.Alarm as alarm:
        return str(alarm)
    return ""

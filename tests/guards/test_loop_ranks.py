"""Loops on several ranks under `watch`: an alarm on one rank ends all, and the guards that compare ranks look."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from faultlab import guards
from faultlab.guards import Alarm, Guard, watch
from faultlab.guards.support import loop_ranks
from tests.guards.gang import gang

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
Act = Callable[[int, nn.Module, torch.optim.Optimizer], None]


class Steady(Guard):
    """A guard that raises on one rank in one batch."""

    checks = {"steady": "all is steady"}

    def __init__(self, rank: int, batch: int) -> None:
        super().__init__()
        self._at = rank, batch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (dist.get_rank(), batch_idx) == self._at:
            self.alarm("steady", "something is wrong", "Look at it.")


def nothing(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    pass


def trained(
    chosen: Any,
    *,
    before_step: Act = nothing,
    after_step: Act = nothing,
    sharded: bool = True,
    set_epoch: bool = True,
    epochs: int = 2,
    validates: Callable[[], bool] = lambda: True,
    accumulates: int = 1,
    watching: Callable[[], bool] = lambda: True,
    slow: float = 0.0,
    wrap: Callable[[nn.Module], nn.Module] = DistributedDataParallel,
    together: bool | None = None,
    optimized: Callable[[Any], Any] = lambda model: model.parameters(),
) -> tuple[list[str], list[str], dict[str, int], int]:
    """Train on this rank by hand; return its alarm with the ranks, what the guards skipped, how often they looked."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(96, 8), torch.randint(0, 3, (96,)))
    sampler = DistributedSampler(data) if sharded else None
    loader, validation = DataLoader(data, 8, sampler=sampler), DataLoader(data, 32)
    bare = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    model: Any = wrap(bare)
    optimizer = torch.optim.Adam(optimized(model), 0.01)
    step, said = 0, []

    def loop() -> None:
        nonlocal step
        for epoch in range(epochs):
            if sampler is not None and set_epoch:
                sampler.set_epoch(epoch)
            model.train()
            for number, (inputs, labels) in enumerate(loader):
                syncs = (number + 1) % accumulates == 0
                model.require_backward_grad_sync = syncs
                if slow and dist.get_rank():
                    time.sleep(slow)
                (F.cross_entropy(model(inputs), labels) / accumulates).backward()
                if syncs:
                    before_step(step, model, optimizer)
                    optimizer.step()
                    after_step(step, model, optimizer)
                    optimizer.zero_grad()
                    step += 1
            if validates():
                model.eval()
                with torch.no_grad():
                    for inputs, _ in validation:
                        bare(inputs) if isinstance(model, DistributedDataParallel) else model(inputs)

    listed = list(chosen)
    try:
        if watching():
            with watch(model, optimizer, guards=listed, loader=loader, validation=validation, together=together):
                loop()
        else:
            loop()
    except Alarm as alarm:
        said = [alarm.guard, alarm.check, str(alarm), *map(str, alarm.ranks)]
    reports = [guard.report() for guard in listed if guard.report()]
    return said, reports, {type(guard).__name__: guard.looked for guard in listed}, step


def on_first() -> bool:
    return dist.get_rank() == 0


def drifts(step: int, model: nn.Module, optimizer: Any) -> None:
    if step == 2 and dist.get_rank() == 1:
        with torch.no_grad():
            next(model.parameters()).add_(0.01)


def test_an_alarm_on_one_rank_ends_the_loop_on_all() -> None:
    (first, *_, steps), (second, *_, its_steps) = gang(lambda: trained([Steady(1, 2)]))
    assert first == second
    assert first[0] == "Steady"
    assert first[3:] == ["1"]
    assert steps == its_steps == 3


def test_an_alarm_after_the_last_batch_is_raised_on_its_rank() -> None:
    (first, *_), (second, *_) = gang(lambda: trained([Steady(1, 5)], epochs=1, validates=lambda: False))
    assert first == []
    assert second[0] == "Steady"


def test_all_ready_made_guards_are_quiet_in_a_healthy_loop_and_those_of_ranks_look() -> None:
    for said, reports, looked, steps in gang(lambda: trained(guards.all(), epochs=4)):
        assert said == []
        assert steps == 24
        assert looked["RanksAgree"] == 23
        assert looked["DataSharded"] >= 4
        assert looked["CollectivesAgree"] >= 1
        assert looked["Stragglers"] >= 10
        assert not [line for line in reports if "different batches" in line]


def test_ranks_that_drift_apart_are_found() -> None:
    for said, *_, steps in gang(lambda: trained([guards.RanksAgree()], after_step=drifts)):
        assert said[:2] == ["RanksAgree", "parameters"]
        assert steps == 3


def test_ranks_that_see_the_same_data_are_found() -> None:
    for said, *_ in gang(lambda: trained([guards.DataSharded()], sharded=False)):
        # Without a sampler, and with one seed for all.
        assert said[:2] == ["DataSharded", "same-batch"]


def test_a_sampler_without_a_new_epoch_is_found() -> None:
    for said, *_ in gang(lambda: trained([guards.DataSharded()], set_epoch=False)):
        assert said[:2] == ["DataSharded", "order-repeats"]


def test_a_rank_that_enters_other_collectives_is_found() -> None:
    def differs(step: int, model: nn.Module, optimizer: Any) -> None:
        kind = dist.ReduceOp.SUM
        dist.all_reduce(torch.zeros(3 + (step == 1 and dist.get_rank() == 1)), kind) if step != 1 else None
        if step == 1:
            dist.barrier() if dist.get_rank() else dist.all_reduce(torch.zeros(1))

    def work() -> Any:
        try:
            return trained([guards.CollectivesAgree(every=2)], after_step=differs)
        except RuntimeError as error:
            return [str(error)], [], {}, 0

    results = gang(work, patience=3.0)
    assert any(said[:2] == ["CollectivesAgree", "sequence"] for said, *_ in results)


def test_a_rank_that_is_slow_is_found() -> None:
    for said, *_ in gang(lambda: trained([guards.Stragglers()], slow=0.06, epochs=4)):
        assert said[:2] == ["Stragglers", "slow"]
        assert "rank 1" in said[2]


def without_buffers(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model, broadcast_buffers=False)


def averaging(step: int, model: nn.Module, optimizer: Any) -> None:
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)


def sharded_fully(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    sharded: nn.Module = fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    return sharded


@pytest.mark.parametrize(
    "options",
    [
        {"wrap": without_buffers},
        {"wrap": lambda model: model, "before_step": averaging, "together": True},
        {"wrap": sharded_fully},
    ],
    ids=["buffers-are-not-broadcast", "gradients-averaged-by-hand", "fully-sharded"],
)
def test_ranks_meet_however_they_share_their_gradients(options: dict[str, Any]) -> None:
    for said, reports, looked, _ in gang(lambda: trained([guards.RanksAgree(), guards.Gradients()], **options)):
        assert said == []
        assert looked["RanksAgree"] == 11, reports
    for said, *_, steps in gang(lambda: trained([Steady(1, 2)], **options)):
        assert said[0] == "Steady"
        assert steps == 3


def test_a_model_that_the_ranks_train_apart_is_left_alone() -> None:
    for said, _, looked, steps in gang(lambda: trained([guards.RanksAgree()], wrap=lambda model: model)):
        assert (said, looked, steps) == ([], {"RanksAgree": 0}, 12)


def test_a_validation_on_the_first_rank_alone_is_healthy() -> None:
    for said, reports, _, steps in gang(lambda: trained(guards.all(), validates=on_first, epochs=3)):
        assert said == []
        assert steps == 18
        assert not [line for line in reports if "different batches" in line]


def test_accumulated_batches_without_synchronization_are_no_meeting() -> None:
    for said, _, looked, steps in gang(lambda: trained(guards.all(), accumulates=3, epochs=3)):
        assert said == []
        assert steps == 6
        assert looked["RanksAgree"] > 0


def test_a_loop_that_only_one_rank_watches_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr(loop_ranks, "_PATIENCE", timedelta(seconds=0.5))
    (first, reports, _, steps), (*_, its_steps) = gang(
        lambda: trained([guards.RanksAgree(), guards.Gradients()], watching=on_first)
    )
    assert first == []
    assert steps == its_steps == 12
    assert "another rank does not watch its loop" in reports[0]


def test_a_rank_that_fails_is_told_by_its_own_alarm() -> None:
    def fails(step: int, model: nn.Module, optimizer: Any) -> None:
        if step == 2 and dist.get_rank() == 1:
            raise ValueError("no")

    def work() -> Any:
        try:
            return trained([Steady(1, 1)], before_step=fails)
        except RuntimeError as error:
            return [str(error)], [], {}, 0

    # The alarm of batch 1 is raised before the backward pass of batch 2.
    (first, *_), (second, *_) = gang(work)
    assert first == second
    assert first[0] == "Steady"


def test_a_loop_of_one_process_is_as_before() -> None:
    assert loop_ranks.joined(None, None, [], [], True) is None  # type: ignore[arg-type]


def keeps_buffers(wrapper: nn.Module) -> nn.Module:
    """Return a wrapper whose broadcast of the buffers does nothing, as if another version of it forgot them."""
    made = DistributedDataParallel(wrapper)
    made._sync_buffers = lambda: None  # type: ignore[method-assign]
    return made


def test_buffers_that_a_broadcast_leaves_apart_are_found() -> None:
    for said, _, looked, steps in gang(lambda: trained([guards.RanksAgree()], wrap=keeps_buffers, epochs=4)):
        assert said[:2] == ["RanksAgree", "buffers"]
        assert "rank 1 has other buffers than rank 0" in said[2]
        assert (looked["RanksAgree"], steps) == (2, 2)


def gathered(model: Any) -> list[nn.Parameter]:
    """Return the parameters of a sharded model as they are between a gathering and a resharding."""
    model.unshard()
    whole = list(model.parameters())
    model.reshard()
    return whole


@pytest.mark.parametrize(
    ("optimized", "check"),
    [(gathered, "foreign"), (lambda model: list(model.parameters())[:-1], "left-out")],
    ids=["gathered", "but-one"],
)
def test_an_optimizer_that_does_not_hold_the_shards_is_found(optimized: Callable[[Any], Any], check: str) -> None:
    for said, *_ in gang(lambda: trained([guards.OptimizerCoverage()], wrap=sharded_fully, optimized=optimized)):
        assert said[:2] == ["OptimizerCoverage", check]


def clips_and_scales(step: int, model: nn.Module, optimizer: Any) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    for parameter in model.parameters():
        parameter.grad.mul_(10)  # type: ignore[union-attr]


def clips(step: int, model: nn.Module, optimizer: Any) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def test_gradients_of_shards_that_grow_after_clipping_are_found() -> None:
    for said, *_ in gang(lambda: trained([guards.ClippingActs()], wrap=sharded_fully, before_step=clips_and_scales)):
        assert said[:2] == ["ClippingActs", "undone"]


def test_guards_of_optimizers_look_at_healthy_shards_and_are_quiet() -> None:
    chosen = lambda: [guards.OptimizerCoverage(), guards.ClippingActs()]  # noqa: E731
    for said, reports, looked, _ in gang(lambda: trained(chosen(), wrap=sharded_fully, before_step=clips, epochs=3)):
        assert said == []
        assert min(looked.values()) > 0, reports

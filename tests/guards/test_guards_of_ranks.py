"""The guards that compare ranks: what each one detects on two ranks, and that it is quiet on healthy ones."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler

from faultlab.guards import (
    Alarm,
    CollectivesAgree,
    DataSharded,
    MetricsRecomputed,
    MetricsSynced,
    RanksAgree,
    Stragglers,
)
from faultlab.guards.support import collective_record, sample_keys
from tests.guards.gang import Synced, fit, gang
from tests.guards.rig import Healthy, points

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def told(guard: Any, module: Any = None, *args: Any, **trainer: Any) -> str:
    """The check and the finding of the alarm that ended the training on this rank, or what the guard reports."""
    try:
        fit([guard], module, *args, **trainer)
    except Alarm as alarm:
        return f"{alarm.check}: {alarm.found}"
    return guard.report() or f"quiet after {guard.looked} looks"


def loader(sampler: Any = None, data: Any = None, **arguments: Any) -> DataLoader[Any]:
    data = points() if data is None else data
    return DataLoader(data, batch_size=16, sampler=sampler, **arguments)


class OtherNames(Synced):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("score" if self.global_rank else "accuracy", self(batch[0]).mean())


class Uneven(Synced):
    """One rank has fewer samples in its batch."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        size = 5 if self.global_rank else 2
        self.log("val_loss", torch.tensor(float(self.global_rank) + 1), batch_size=size)


class OnOneRank(Synced):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step(batch, batch_idx)
        self.log("note", 1.0, rank_zero_only=True) if self.global_rank == 0 else None


def test_metrics_are_compared_by_names_values_and_means() -> None:
    def work() -> list[str]:
        trials: list[tuple[Any, dict[str, Any]]] = [
            (Synced(), {}),
            (OnOneRank(), {}),
            (Healthy(), {}),
            (OtherNames(), {}),
            (Uneven(), {}),
        ]
        return [told(MetricsSynced(), module, **more) for module, more in trials]

    for quiet, one, unsynced, names, mean in gang(work):
        assert quiet == one == "quiet after 2 looks"
        assert unsynced.startswith("unsynced: val_")
        assert names == (
            "names: rank 1 logs score and does not log accuracy, unlike rank 0, so that their values are mixed up"
        )
        # Five samples of 2 and two of 1: but 3.5 samples are cut to 3.
        assert mean == "mean: val_loss is logged as 2, and its mean over the ranks is 1.71429"


def test_a_share_that_is_added_up_is_noticed_and_a_count_is_not() -> None:
    class Summed(Synced):
        name, factor = "val_accuracy", 1.0

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            share = (self(batch[0]).argmax(dim=1) == batch[1]).float().mean()
            self.log(self.name, self.factor * share, reduce_fx="sum")

    class Count(Summed):
        name = "correct"

    class Weighted(Summed):
        """Each rank has one batch of two."""

        factor = 0.5

    def work() -> list[str]:
        return [told(MetricsSynced(), module, max_epochs=6) for module in (Summed(), Count(), Weighted())]

    for summed, count, weighted in gang(work):
        assert summed.startswith("summed: val_accuracy is 1.")
        assert summed.endswith(", the sum over 2 batches of all ranks")
        assert count == weighted == "quiet after 6 looks"


def test_a_synced_metric_is_recomputed_over_all_ranks() -> None:
    class Doubled(Synced):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            factor = 1.0 if self.trainer.current_epoch == 0 else 2.0
            self.log("val_loss", factor * torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def work() -> list[str]:
        modules = Synced(), Healthy(), Doubled()
        return [told(MetricsRecomputed(strict=True, tolerance=1e-5), module, max_epochs=3) for module in modules]

    for synced, unsynced, doubled in gang(work):
        assert synced == unsynced == "quiet after 4 looks"
        assert doubled.startswith("differs: the metric val_loss is logged as ")
        assert doubled.endswith(" if recomputed on the same 64 samples")


def test_a_monitored_metric_of_the_training_epoch_is_compared_and_no_other() -> None:
    class OfEpoch(Synced):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            self.log("loss_of_epoch", loss, on_epoch=True, on_step=False, sync_dist=False)
            return loss

    def work() -> list[str]:
        stopping = pl.callbacks.EarlyStopping("loss_of_epoch", patience=9, check_on_train_epoch_end=True)
        found = [told(MetricsSynced(), OfEpoch())]
        try:
            fit([stopping, MetricsSynced()], OfEpoch())
        except Alarm as alarm:
            found.append(alarm.found)
        return found

    for quiet, stopped in gang(work):
        assert quiet == "quiet after 2 looks"
        assert stopped.startswith("loss_of_epoch is ")


class Stream(IterableDataset[Any]):
    def __init__(self, numbers: torch.Tensor) -> None:
        self.numbers = numbers

    def __iter__(self) -> Any:
        return iter(zip(self.numbers, (self.numbers.sum(dim=1) > 0).long()))


def test_the_samples_of_ranks_are_compared() -> None:
    def work() -> list[str]:
        rank = dist.get_rank()
        whole, fixed = {"use_distributed_sampler": False}, points(seed=3)
        own = torch.Generator().manual_seed(rank)
        apart = Stream(torch.randn(256, 4, generator=torch.Generator().manual_seed(rank)))
        trials: list[tuple[Any, dict[str, Any]]] = [
            (loader(shuffle=True), {}),
            (loader(), {}),
            (loader(shuffle=True), {"overfit_batches": 2}),
            (DataLoader(apart, batch_size=16), {}),
            (DataLoader(Stream(torch.randn(256, 4)), batch_size=16), {}),
            (loader(RandomSampler(fixed, generator=torch.Generator().manual_seed(0)), fixed), whole),
            (loader(RandomSampler(fixed, generator=own), fixed), whole),
            (loader(RandomSampler(fixed, replacement=True, num_samples=512, generator=own), fixed), whole),
            (loader(DistributedSampler(fixed, 4, rank), fixed), whole),
            (loader(DistributedSampler(fixed, 2, rank, seed=rank), fixed), whole),
        ]
        return [told(DataSharded(), None, data, **trainer) for data, trainer in trials]

    results = gang(work)
    for quiet, ordered, overfit, streams, stream, same, shuffled, drawn, _, _ in results:
        assert {quiet, ordered} == {"quiet after 4 looks"}
        assert overfit == "quiet after 0 looks"
        assert streams == "quiet after 4 looks"
        assert stream == same == "same-batch: the ranks 0, 1 train on the same samples in batch 0"
        assert shuffled == "overlap: 100% of the samples of this epoch were seen by several ranks"
        assert drawn == "quiet after 4 looks"
    for rank, result in enumerate(results):
        assert result[8] == f"sampler: rank {rank} of 2 has the sampler of rank {rank} of 4"
    assert {result[9] for result in results} == {results[0][9]}
    assert results[0][9].startswith("overlap: ")


def test_a_sampler_that_is_not_told_the_epoch_repeats_its_order() -> None:
    class Deaf(DistributedSampler[Any]):
        def set_epoch(self, epoch: int) -> None:
            pass

    def work() -> list[str]:
        whole, data = {"use_distributed_sampler": False, "max_epochs": 3}, points()
        size, rank = dist.get_world_size(), dist.get_rank()
        return [
            told(DataSharded(), None, loader(kind(data, size, rank, shuffle=shuffle), data), **whole)
            for kind, shuffle in ((Deaf, True), (Deaf, False), (DistributedSampler, True))
        ]

    for repeats, on_purpose, told_of_epochs in gang(work):
        assert repeats == "order-repeats: epoch 1 begins with the same batches as the one before"
        assert on_purpose == told_of_epochs == "quiet after 6 looks"


def test_samples_that_are_missing_are_counted() -> None:
    class Lost(DistributedSampler[Any]):
        def __iter__(self) -> Any:
            return iter(list(super().__iter__())[::2])

        def __len__(self) -> int:
            return super().__len__() // 2

    def work() -> str:
        data = points(512)
        sampler = Lost(data, dist.get_world_size(), dist.get_rank())
        return told(DataSharded(), None, loader(sampler, data), use_distributed_sampler=False)

    assert gang(work) == ["missing: the ranks saw 256 samples in this epoch, of 480"] * 2


def test_keys_of_samples_tell_them_apart_whatever_they_are_made_of() -> None:
    images, labels = torch.rand(8, 3, 40, 40), torch.arange(8)
    keys = sample_keys.of_batch([images, labels])
    assert keys is not None
    assert len(set(keys.tolist())) == 8
    again = sample_keys.of_batch({"image": images.clone()[2:], "label": labels[2:].clone()})
    assert again is not None
    assert again.tolist() == keys.tolist()[2:]
    assert sample_keys.of_batch(torch.arange(6)) is None
    assert sample_keys.of_batch([torch.arange(6), torch.arange(6)]) is None


def test_sketches_estimate_what_is_shared() -> None:
    numbers = torch.arange(40_000 * 4).reshape(-1, 4).float()
    keys = sample_keys.of_batch(numbers)
    assert keys is not None
    assert len(set(keys.tolist())) == 40_000
    one, other = keys[:30_000], keys[20_000:]
    sketches = [sample_keys.sketch([part])[0].tolist() for part in (one, other)]
    common, together = sample_keys.shared(sketches)
    assert 0.2 < common / together < 0.3
    apart = [sample_keys.sketch([part])[0].tolist() for part in (keys[:20_000], keys[20_000:])]
    assert sample_keys.shared(apart)[0] == 0


class Reducing(Synced):
    """Reduces something of its own at batch 3 of each epoch."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 3:
            self.reduce()

    def reduce(self) -> None:
        dist.all_reduce(torch.zeros(1))


class OtherShape(Reducing):
    def reduce(self) -> None:
        dist.all_reduce(torch.zeros(2) if self.global_rank else torch.zeros(1, 2))


class OneLate(Reducing):
    """One rank enters a barrier that the other does not, and waits for it in vain."""

    def reduce(self) -> None:
        dist.barrier() if self.global_rank else dist.all_reduce(torch.zeros(3))


def test_collectives_are_compared_and_the_first_that_differs_is_named() -> None:
    def work() -> list[Any]:
        found = [told(CollectivesAgree(every=4), Reducing()), told(CollectivesAgree(every=2), OtherShape())]
        assert not collective_record._records
        kind = type(dist.group.WORLD)
        assert not any("recording" in repr(vars(kind).get(name)) for name in ("allreduce", "barrier", "broadcast"))
        return found

    for quiet, shape in gang(work):
        assert quiet.startswith("quiet after ")
        assert shape == (
            "sequence: rank 1 entered all_reduce of float32[2], where rank 0 entered all_reduce of float32[1, 2]"
        )


def test_a_wait_in_vain_is_explained_when_it_ends() -> None:
    results = gang(lambda: told(CollectivesAgree(), OneLate()), patience=2.0)
    assert any("where rank 0 entered all_reduce of float32[3]" in str(result) for result in results), results


def test_a_record_of_collectives_finds_the_first_difference() -> None:
    assert collective_record.difference([(2, ["a", "b"]), (2, ["a", "b"])]) == ""
    assert collective_record.difference([(2, ["a", "b"]), (3, ["a", "b", "c"])]) == ""
    assert collective_record.difference([(2, ["a", "b"]), None]) == ""
    told = collective_record.difference([(9, ["x", "y"]), None, (8, ["z"])])
    assert told == "rank 2 entered z, where rank 0 entered x"


class Slow(Healthy):
    """One rank takes longer for its forward pass."""

    seconds = 0.06

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_rank == 1:
            time.sleep(self.seconds)
        return super().training_step(batch, batch_idx)


class SlowOnce(Slow):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seconds = 0.06 if batch_idx % 4 == 0 else 0.0
        return super().training_step(batch, batch_idx)


class SlowBackward(Healthy):
    """One rank takes longer for its backward pass, where all ranks wait for each other."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        step = super().training_step(batch, batch_idx)
        if self.global_rank == 1:
            (step["loss"] if isinstance(step, dict) else step).register_hook(lambda gradient: time.sleep(0.06))
        return step


def test_a_rank_that_is_always_late_is_named_with_its_seconds() -> None:
    def work() -> list[str]:
        modules = Slow(), SlowBackward(), SlowOnce()
        return [told(Stragglers(), module, loader(data=points(800)), max_epochs=1) for module in modules]

    for slow, slow_backward, once in gang(work):
        for said in (slow, slow_backward):
            assert said.startswith("slow: rank 1 comes 0.0")
            assert "s after the others in each step of 0." in said
        assert once.startswith("quiet after ")


def test_the_guards_of_ranks_do_nothing_in_one_process() -> None:
    from tests.guards.rig import fit as fit_alone
    from tests.guards.rig import loaders

    watching = [CollectivesAgree(every=1), DataSharded(), MetricsSynced(), RanksAgree(), Stragglers()]
    fit_alone(watching, Healthy(), *loaders())
    assert [(guard.looked, guard.report()) for guard in watching] == [(0, "")] * 5


@pytest.mark.parametrize("arguments", [{"factor": 1.0}, {"every": 0}, {"times": 0}])
def test_stragglers_need_sensible_numbers(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected more than 1, and at least 1"):
        Stragglers(**arguments)


def test_collectives_need_a_period() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        CollectivesAgree(every=0)

"""The guard that checks that the ranks of a training see different samples, and together all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DistributedSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, sample_keys
from faultlab.guards.support.exchange import Exchange, meets, ranks_named
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.training_view import TrainingView

_FIRST = 2
"""How many batches of an epoch are compared at once."""
_MOST = 1 << 20
"""The number of samples of an epoch after which no more are noted."""
_SHARE, _TIMES = 0.05, 4.0
"""The share of samples that several ranks see, and how many times more often than one rank sees one twice."""


class DataSharded(Guard):
    """A guard against ranks that train on the same samples, on a part of them, or in the same order in each epoch.

    The ranks compare the contents of their first batches of an epoch, and at its end a sketch of all samples that they
    saw. Samples of fewer than four numbers are not compared, since they may be counters. In a training of one process,
    or with sharded parameters, it does nothing.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "sampler": "the distributed sampler is for another number of ranks, or for another rank",
        "same-batch": "several ranks train on the same batch",
        "overlap": "several ranks see the same samples in an epoch",
        "missing": "the ranks together do not see all samples in an epoch",
        "order-repeats": "the distributed sampler shuffles, but an epoch begins with the batches of the one before",
    }
    causes = {
        "sampler": "ranks, same data, same samples, sampler, shard, missing",
        "same-batch": "ranks, same data, same samples, sampler, shard",
        "overlap": "ranks, same data, same samples, sampler, shard, seed, overlap",
        "missing": "ranks, sampler, shard, missing, samples",
        "order-repeats": "epoch, shuffl, same order, sampler, same batch",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.exchange = Exchange()
        self._findings = Findings()
        self._begin()

    def _begin(self) -> None:
        self._keys: list[Tensor] = []
        self._noted = self._batches = 0
        self._order: int | None = None

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._begin()
        self.dormant = trainer.world_size == 1

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        # Each rank may find another fault with its own sampler, and need not compare it.
        if not _compares(trainer):
            return
        from torch import distributed as dist

        rank, size = dist.get_rank(), dist.get_world_size()
        for sampler in _samplers(trainer.train_dataloader):
            if (sampler.num_replicas, sampler.rank) != (size, rank):
                found = (
                    f"rank {rank} of {size} has the sampler of rank {sampler.rank} of {sampler.num_replicas}",
                    "Construct DistributedSampler without num_replicas and rank, after the ranks have met.",
                )
                self._findings.say(self, [("sampler", *found)])

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._keys, self._noted, self._batches = [], 0, 0

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not _compares(trainer):
            return
        self._batches += 1
        keys = None
        if self._noted < _MOST:
            try:
                keys = sample_keys.of_batch(batch)
            except Exception as error:  # no rank may wait for this one
                self.skip(f"the samples of a batch can't be distinguished: {type(error).__name__}")
        if keys is not None:
            self._keys.append(keys)
            self._noted += len(keys)
        if self._batches <= _FIRST:
            self._compare(pl_module, keys)
        if self._batches == _FIRST:
            self._compare_orders(trainer)

    on_train_batch_end = batch_view.forgetting

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if _compares(trainer):
            self._compare_epochs(trainer, pl_module)
        self._keys, self._noted = [], 0

    def _compare(self, module: Any, keys: Tensor | None) -> None:
        assert self.exchange is not None
        own = 0 if keys is None or not bool((keys != keys[0]).any()) else int(sample_keys.in_order([keys.sort()[0]]))
        rows = self.exchange.gather(self, module, lambda: [own], 1)
        if rows is None:
            return
        self.looked += 1
        of_ranks = [row[0] for row in rows]
        same = [rank for rank, number in enumerate(of_ranks) if number and of_ranks.count(number) > 1]
        if same:
            self._findings.say(
                self,
                [
                    (
                        "same-batch",
                        f"{ranks_named(same)} train on the same samples in {self.batch_name(self._batches - 1)}",
                        "Use DistributedSampler, or let an IterableDataset yield its rank's share of the samples.",
                    )
                ],
            )

    def _compare_orders(self, trainer: TrainingView) -> None:
        before, self._order = self._order, None
        samplers = list(_samplers(trainer.train_dataloader))
        different = len({int(key) for keys in self._keys for key in keys[:8]}) if self._keys else 0
        if len(self._keys) != _FIRST or different < 8 or not (samplers and all(one.shuffle for one in samplers)):
            return
        self._order = sample_keys.in_order(self._keys)
        if self._order == before:
            self._findings.say(
                self,
                [
                    (
                        "order-repeats",
                        f"epoch {trainer.current_epoch} begins with the same batches as the one before",
                        "Call `sampler.set_epoch(epoch)` before each epoch"
                        + self.terms.either("; the Trainer does for samplers that it sees.", "."),
                    )
                ],
            )

    def _compare_epochs(self, trainer: TrainingView, module: Any) -> None:
        assert self.exchange is not None
        kept = sample_keys.KEPT
        expected = _expected(trainer, self._batches)

        def own() -> list[int]:
            if not self._keys:
                return [0] * (kept + 4)
            lowest, count, different = sample_keys.sketch(self._keys)
            numbers = lowest.tolist()
            return [len(numbers), count, different, expected, *numbers, *[0] * (kept - len(numbers))]

        rows = self.exchange.gather(self, module, own, kept + 4)
        if rows is None or not all(row[0] for row in rows):
            return
        common, together = sample_keys.shared([row[4 : 4 + row[0]] for row in rows])
        count, different = (sum(row[place] for row in rows) for place in (1, 2))
        twice = 1 - different / count
        findings = []
        if common > 2 * len(rows) and common / together > max(_SHARE, _TIMES * twice):
            findings.append(
                (
                    "overlap",
                    f"{common / together:.0%} of the samples of this epoch were seen by several ranks",
                    "Give all ranks' samplers the same seed, and each its own part of the order.",
                )
            )
        if 0 < count < 0.9 * min(row[3] for row in rows) and self._noted < _MOST:
            findings.append(
                (
                    "missing",
                    f"the ranks saw {count} samples in this epoch, of {rows[0][3]}",
                    "Give the samplers the number of ranks there are, and drop no more than the last batches.",
                )
            )
        self._findings.say(self, findings)


def _compares(trainer: TrainingView) -> bool:
    return meets(trainer) and not trainer.is_flattened and not trainer.overfit_batches


def _samplers(loaders: Any) -> Iterator[Any]:
    """Yield the distributed samplers of a loader, or of several."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    for loader in loaders if isinstance(loaders, (list, tuple)) else [loaders]:
        for owner in (loader, getattr(loader, "batch_sampler", None)):
            sampler = getattr(owner, "sampler", None)
            if isinstance(sampler, DistributedSampler):
                yield sampler
                break


def _expected(trainer: TrainingView, batches: int) -> int:
    """Return the number of samples that all ranks see in a whole epoch together, without their last batches.

    It is 0 if that is unknown, or if this epoch was not a whole one.
    """
    loader = trainer.train_dataloader
    samplers = list(_samplers(loader))
    if len(samplers) != 1 or isinstance(loader, (dict, list, tuple)):
        return 0
    try:
        whole, size = len(loader), len(samplers[0].dataset)
    except TypeError:
        return 0
    left = trainer.world_size * (getattr(loader, "batch_size", None) or 0)
    return max(size - left, 0) if batches >= whole else 0

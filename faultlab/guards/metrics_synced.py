"""The guard that checks that the ranks of a training log the same metrics with the same values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import fingerprints, pace
from faultlab.guards.support.computed_metrics import Computed
from faultlab.guards.support.exchange import Exchange, bits_of, from_bits, gather_objects, meets, ranks_named
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.parameter_samples import Finding
from faultlab.guards.support.training_view import TrainingView

_SHARES = re.compile(r"(?<![a-z])(acc|accuracy|precision|recall|f1|auc|auroc|iou|dice)(?![a-z])")
_TOLERANCE = 1e-5
_ROUGHLY = 1e-3


class MetricsSynced(Guard):
    """A guard against metrics of an epoch that are those of one rank only.

    After each validation, the ranks compare the names and values of the metrics that are logged for the whole of it,
    and their means with the sums and batch sizes on all ranks. After a training epoch, they compare the
    metrics that checkpoints, early stopping or schedules are decided by. Metrics of steps, and those that are logged
    with ``rank_zero_only``, are not compared. In a training of one process it does nothing.

    Under `watch`, where nothing is logged by Lightning, the ranks compare the values that torchmetrics objects compute
    in eval mode from the states of all ranks, and the metric that ``ReduceLROnPlateau`` is stepped with. If each rank
    validates its own share of the data and they exchange nothing afterwards, the guard warns.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "names": "the ranks log metrics of different names, whose values are averaged with each other",
        "unsynced": "a metric of an epoch has another value on each rank",
        "mean": "the mean of a metric over the ranks is not that of their samples",
        "summed": "a share is above one because it is added up over batches and ranks",
        "own-share": "each rank validates its own share of the data, and they exchange nothing afterwards",
    }
    causes = {
        "names": "ranks, metric, key, synchron, averaged, differ",
        "unsynced": "ranks, metric, sync_dist, synchron, differ",
        "mean": "ranks, metric, mean, average, uneven, batch size, inflated, reduce",
        "summed": "ranks, metric, sum, mean, average, reduce",
        "own-share": "ranks, metric, synchron, all_reduce, share, differ",
    }

    compares_metrics = True
    """True, since it needs the metrics that the ranks of a loop compute in their validations."""

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.exchange = Exchange()
        self._findings = Findings()
        self._sums: dict[str, tuple[Any, Any]] = {}
        self._parts = 0
        self._of_epoch: list[str] = []

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._sums = {}
        self._of_epoch = []

    def on_validation_batch_end(self, trainer: TrainingView, *args: Any) -> None:
        # After the last batch they are reduced, in place.
        if meets(trainer) and not trainer.sanity_checking:
            self._sums.update(trainer.validation_sums())
            self._parts += trainer.world_size

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if meets(trainer) and not trainer.sanity_checking:
            parts, self._parts = self._parts, 0
            self._compare(trainer, pl_module, trainer.epoch_names()[1])
            self._findings.say(self, _of_sums(trainer, parts))

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        # They are not reduced yet: other callbacks may still log.
        decisive = _decisive(trainer) if meets(trainer) else frozenset()
        self._of_epoch = [name for name in trainer.epoch_names()[0] if name in decisive] if decisive else []

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # Only loops have such, and call it in each batch.
        if trainer.computed or trainer.is_apart:
            self._after_validation(trainer, pl_module)

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._after_epoch(trainer, pl_module)

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._after_epoch(trainer, pl_module)

    def _after_validation(self, trainer: TrainingView, module: Any) -> None:
        """Compare what the ranks of a loop have computed since they met."""
        computed, apart = trainer.computed, trainer.is_apart
        trainer.computed, trainer.is_apart = (), False
        self.looked += 1
        if computed:
            self._compare_computed(module, computed)
        if apart:
            self.advise(
                "own-share",
                "each rank has validated its own share of the data, and the ranks have exchanged nothing since then: "
                "what a rank reports or decides by is that of its share",
                "Add up sums and counts over the ranks by all_reduce before you divide them, or use a torchmetrics "
                "metric.",
            )

    def _compare_computed(self, module: Any, computed: Sequence[Computed]) -> None:
        assert self.exchange is not None
        names = [one.name for one in computed]

        def numbers() -> list[int]:
            return [fingerprints.of_names(names), *(bits_of(one.value) for one in computed)]

        if (rows := self.exchange.gather(self, module, numbers, 1 + len(names))) is None:
            return
        if any(row[0] != rows[0][0] for row in rows):
            self._findings.say(self, [_of_order(gather_objects(names))])
            return
        columns = [[from_bits(row[1 + place]) for row in rows] for place in range(len(names))]
        apart = (_unsynced(name, values) for name, values in zip(names, columns) if all(map(math.isfinite, values)))
        self._findings.say(self, filter(None, apart))

    def _after_epoch(self, trainer: TrainingView, module: Any) -> None:
        if meets(trainer) and trainer.current_epoch and _decisive(trainer):
            self._compare(trainer, module, self._of_epoch)
        self._of_epoch = []

    def _compare(self, trainer: TrainingView, module: Any, names: Iterable[str]) -> None:
        assert self.exchange is not None
        metrics = trainer.callback_metrics or {}
        own = {name: _number(metrics[name]) for name in sorted(names) if name in metrics}
        sums, self._sums = self._sums, {}
        rows = self.exchange.gather(self, module, lambda: [len(own), fingerprints.of_names(own)], 2)
        if rows is None:
            return
        self.looked += 1
        if any(row != rows[0] for row in rows):
            self._findings.say(self, [_of_names(gather_objects(list(own)))])
            return

        def numbers() -> list[int]:
            found = []
            for name, value in own.items():
                total, weight = sums.get(name, (math.nan, math.nan))
                found += [bits_of(value), bits_of(float(total)), bits_of(float(weight))]
            return found

        if own and (values := self.exchange.gather(self, module, numbers, 3 * len(own))) is not None:
            columns = {name: [row[3 * place : 3 * place + 3] for row in values] for place, name in enumerate(own)}
            self._findings.say(self, _of_values(columns))


def _of_values(columns: Mapping[str, list[list[int]]]) -> list[Finding]:
    findings = []
    for name, of_ranks in columns.items():
        values, totals, weights = ([from_bits(row[place]) for row in of_ranks] for place in range(3))
        if not all(math.isclose(one, values[0], rel_tol=_TOLERANCE, abs_tol=1e-12) for one in values if one == one):
            shown = " and ".join(f"{value:.6g}" for value in values[:4])
            findings.append(
                (
                    "unsynced",
                    f"{name} is {shown} on the ranks, so that decisions and reports are those of rank 0's share",
                    "Set `sync_dist=True` in `self.log`, or log a torchmetrics metric.",
                )
            )
        elif (weight := math.fsum(weights)) > 0 and not _alike(values[0], mean := math.fsum(totals) / weight):
            findings.append(
                (
                    "mean",
                    f"{name} is logged as {values[0]:.6g}, and its mean over the ranks is {mean:.6g}",
                    "Give all ranks as many samples, or log a torchmetrics metric: the mean of batch sizes that "
                    "differ is cut to an integer.",
                )
            )
    return findings


def _unsynced(name: str, values: list[float]) -> Finding | None:
    if all(math.isclose(one, values[0], rel_tol=_ROUGHLY, abs_tol=1e-9) for one in values):
        return None
    shown = " and ".join(f"{value:.6g}" for value in values[:4])
    return (
        "unsynced",
        f"{name} is {shown} on the ranks, so that each decides by, and reports, another value",
        "Register what a metric keeps by add_state with its dist_reduce_fx, and step schedulers by a value that is "
        "averaged over the ranks.",
    )


def _of_order(of_ranks: list[list[str]]) -> Finding:
    rank = next(rank for rank, names in enumerate(of_ranks) if names != of_ranks[0])
    its, first = next((its, first) for its, first in zip(of_ranks[rank], of_ranks[0]) if its != first)
    found = f"{ranks_named([rank])} computes {its} where rank 0 computes {first}, so that their values are mixed up"
    return "names", found, "Compute the same metrics on all ranks, in the same order."


def _of_sums(trainer: TrainingView, parts: int) -> list[Finding]:
    """Return the shares that are above one because they are sums. All ranks see the same, if they are synchronized."""
    metrics, findings = trainer.callback_metrics or {}, []
    for name in trainer.validation_totals():
        value = _number(metrics.get(name))
        if _SHARES.search(name.lower()) and parts and 1.001 < value <= parts:
            findings.append(
                (
                    "summed",
                    f"{name} is {value:.6g}, the sum over {parts} batches of all ranks",
                    'Log it without reduce_fx="sum".',
                )
            )
    return findings


def _alike(value: float, mean: float) -> bool:
    if not (math.isfinite(value) and math.isfinite(mean)):
        return True
    return math.isclose(value, mean, rel_tol=_ROUGHLY, abs_tol=1e-9)


def _of_names(of_ranks: list[list[str]]) -> Finding:
    first = set(of_ranks[0])
    rank = next(rank for rank, names in enumerate(of_ranks) if set(names) != first)
    more, fewer = sorted(set(of_ranks[rank]) - first), sorted(first - set(of_ranks[rank]))
    parts = [f"logs {', '.join(more)}"] * bool(more) + [f"does not log {', '.join(fewer)}"] * bool(fewer)
    found = f"{ranks_named([rank])} {' and '.join(parts)}, unlike rank 0, so that their values are mixed up"
    return "names", found, "Log the same names on all ranks, in the same order."


def _decisive(trainer: TrainingView) -> frozenset[str]:
    """Return the metrics that checkpoints, early stopping and schedules are decided by."""
    deciding = [*trainer.callbacks, *(trainer.lr_scheduler_configs or ())]
    return frozenset(name for one in deciding if isinstance(name := getattr(one, "monitor", None), str))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return math.nan

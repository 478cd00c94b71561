"""The guard that recomputes the logged validation loss with the training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import torch

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import draws, trainer_state, trials
from faultlab.guards.support.exchange import Exchange, bits_of, from_bits, meets
from faultlab.guards.support.training_view import TrainingView


class MetricsRecomputed(Guard):
    """A guard against a logged validation metric that differs from an independent computation on the same batches.

    A copy of the module in eval mode computes the training loss of each validation batch, without gradients. The mean
    over all samples is compared with the logged metric. The two may differ by design, for instance by label smoothing
    or a penalty. Therefore they have to agree only once they have agreed before, usually in the sanity check, and if
    both steps also give the same loss for a batch with other weights, so that this was not by chance.

    Without ``compute`` the guard skips manual optimization, metrics that are not losses, batches with an unknown number
    of samples, and steps that draw random numbers.

    Args:
        metric: The metric to compare, if its name contains "loss" or ``compute`` is given. Empty for the validation
            loss.
        compute: A function ``compute(module, batch)`` that returns the metric's mean over a batch. It has to agree from
            the start.
        tolerance: The allowed difference, as a share of the value.
        strict: Whether the loss has to agree from the start, too.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "metrics"
    checks = {
        "differs": "the logged metric differs from the recomputed one",
        "mean-of-means": "the logged metric is the mean of the batches' means, not of the samples",
    }
    causes = {
        "differs": "metric, logged, reset, accumulated, constant, training, eval, mode, same, validation",
        "mean-of-means": "metric, mean, average, batch_size, batch size, large, logged",
    }

    def __init__(
        self,
        metric: str = "",
        compute: Callable[[Any, Any], Any] | None = None,
        tolerance: float = 0.02,
        strict: bool = False,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.metric = metric
        self.compute = compute
        self.tolerance = tolerance
        self.strict = strict
        self._trial: trials.Trial | None = None
        self._first: Any = None
        self._due = self._asked = False
        self.exchange = Exchange()
        self._agreed = False
        self._values: list[tuple[float, int]] = []

    @classmethod
    def arguments(cls, monitor: str, mode: str) -> dict[str, Any]:
        return {"metric": monitor}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_trial": None, "_first": None}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._agreed = False

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._values = []
        self._trial, self._first = None, None
        why = self._unable(trainer, pl_module) if trainer.is_fitting else ""
        if why:
            self.skip(why)
        judged = self.compute is not None or self._is_loss(self.metric)
        assert self.exchange is not None
        # A rank whose guard has failed, as all know by then, no longer joins in putting shared parameters together.
        alone = trainer.is_sharded and self.exchange.ended
        self._due = self._asked = trainer.is_fitting and judged and not why and not alone

    def _unable(self, trainer: TrainingView, module: Any) -> str:
        """Return why nothing can be recomputed, or an empty string."""
        if trainer.callback_metrics is None:
            return "the loop shows no metrics that could be compared"
        if self.compute is None and not hasattr(module, "training_step"):
            return "the module has no training step that could be repeated: pass compute"
        if self.compute is None and not trainer_state.learns(module):
            return "the module optimizes by hand, so its training step may return another loss: pass compute"
        return ""

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # Averaged weights have been swapped in by now, but not the buffers that the first batch broadcasts.
        if self._due and not (trainer.shares_buffers and meets(trainer)):
            self._copy(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._due:
            self._copy(trainer, pl_module)
        if self._trial is None:
            return
        size = trainer_state.samples(batch)
        value = None if size is None else self._recompute(self._trial, batch, batch_idx)
        if value is None or size is None or dataloader_idx:
            self._trial = self._first = None
            if size is None:
                self.skip("the tensors of a batch disagree on the number of samples")
            elif dataloader_idx:
                self.skip("there are several validation loaders")
        else:
            self.looked += 1
            self._values.append((value, size))
            if batch_idx == 0:
                self._first = batch

    def _copy(self, trainer: TrainingView, module: Any) -> None:
        self._due = False
        self._trial = trials.of_present(module, trainer, self.skip)

    def _recompute(self, trial: trials.Trial, batch: Any, batch_idx: int) -> float | None:
        try:
            with trial.running(evaluates=True):
                if self.compute is not None:
                    return trainer_state.number(self.compute(trial.module, batch))
                before = draws.mark()
                outputs = trial.step(batch, batch_idx)
                # A loss that draws random numbers differs each time.
                if draws.since(before):
                    self.skip("the loss draws random numbers")
                    return None
            loss = trainer_state.loss_of(outputs)
            if loss is None:
                self.skip("the training step returns no loss")
                return None
            return float(loss)
        except Exception as error:
            self.skip(f"the loss can't be recomputed: {type(error).__name__}: {error}")
            return None

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        trial, first = self._trial, self._first
        self._trial = self._first = None
        found = trainer_state.metrics(trainer)
        name = (self.metric if self.metric in found else "") or trainer_state.validation_loss(found)
        own = _Sums.of(self._values) if trial is not None else _Sums()
        every = self._of_all_ranks(trainer, pl_module, own)
        if trial is None or not own.samples or not name or not (self.compute or self._is_loss(name)):
            return
        logged = found[name]
        # The metric is of all ranks' samples, unless it is not synchronized.
        used = own if every is None or self._near(logged, own.mean, 1e-4) else every
        samples, mean, of_means = int(used.samples), used.mean, used.of_means / used.batches
        if not math.isfinite(mean) or self._near(logged, mean, 1e-4 * (1 + 9 * (abs(mean) < 1e-3))):
            if not self._agreed:
                trials.keep_apart(pl_module)
                self._agreed = self._is_by_design(name, trial, first)
            return
        if not self._near(of_means, mean, 1e-3) and self._near(logged, of_means, 1e-4):
            self.alarm(
                "mean-of-means",
                f"{name} is logged as {logged:.6g}, the average of the batches' averages, but the mean over its "
                f"{samples} samples is {mean:.6g}: a small batch counts as much as a large one",
                "Log it with the number of samples as batch_size, not with a fixed one.",
            )
        elif self._near(logged, mean, self.tolerance):
            # Other losses may be this close by chance, and need not agree in general.
            return
        elif self._agreed or self.strict or self.compute is not None:
            self.alarm(
                "differs",
                f"the metric {name} is logged as {logged:.6g}, but is {mean:.6g} if recomputed on the same {samples} "
                "samples",
                "Log the value of these batches alone (not accumulated without a reset, not an old or constant one, "
                "not that of training), and check that validation runs in eval mode.",
            )

    def _of_all_ranks(self, trainer: TrainingView, module: Any, own: _Sums) -> _Sums | None:
        """Return the sums over all ranks; None if there is only one, or if one could not compute its own."""
        asked, self._asked = self._asked, False
        if not asked or not meets(trainer):
            return None
        assert self.exchange is not None
        rows = self.exchange.gather(self, module, lambda: [bits_of(value) for value in own], len(own))
        of_ranks = [_Sums(*map(from_bits, row)) for row in rows or ()]
        if not all(one.samples for one in of_ranks):
            return None
        return _Sums(*map(math.fsum, zip(*of_ranks))) if of_ranks else None

    def _is_by_design(self, name: str, trial: trials.Trial, batch: Any) -> bool:
        """Return whether both agree with other weights too, or whether that can't be tried."""
        if self.compute is not None or batch is None:
            return True
        try:
            with trial.running(evaluates=True):
                loss, logged = _with_other_weights(trial, batch)
        except Exception as error:
            self.skip(f"the validation step of the copy failed: {type(error).__name__}: {error}")
            return True
        if loss is None or name not in logged:
            return True
        return not math.isfinite(loss) or self._near(logged[name], loss, 1e-5)

    @staticmethod
    def _near(one: float, other: float, share: float) -> bool:
        return math.isfinite(one) and abs(one - other) <= share * max(abs(one), abs(other)) + 1e-8

    @staticmethod
    def _is_loss(name: str) -> bool:
        return not name or "loss" in name.lower()


class _Sums(NamedTuple):
    """What was recomputed: the sum over samples, their number, the sum of the batches' means, and their number."""

    total: float = 0.0
    samples: float = 0.0
    of_means: float = 0.0
    batches: float = 0.0

    @classmethod
    def of(cls, values: list[tuple[float, int]]) -> _Sums:
        """Return the sums of the batches' means and sizes."""
        total, samples = sum(value * size for value, size in values), sum(size for _, size in values)
        return cls(total, samples, sum(value for value, _ in values), len(values))

    @property
    def mean(self) -> float:
        """The mean over all samples."""
        return self.total / self.samples


def _with_other_weights(trial: trials.Trial, batch: Any) -> tuple[float | None, dict[str, float]]:
    """Return the training loss and the logged metrics of the copy with random weights.

    A loss that weights its terms by parameters, or smooths its labels, may at first equal the one that does not.
    """
    logged: dict[str, float] = {}

    def log(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        if (number := trainer_state.number(value)) is not None:
            logged[name] = number

    def log_dict(values: Any, *args: Any, **kwargs: Any) -> None:
        for name, value in values.items():
            log(name, value)

    draws.reseed(1)
    for parameter in trial.module.parameters():
        if parameter.is_floating_point():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter.add_(torch.randn_like(parameter), alpha=spread or 1.0)
    object.__setattr__(trial.module, "log", log)
    object.__setattr__(trial.module, "log_dict", log_dict)
    loss = trainer_state.loss_of(trial.step(batch, 0))
    trial.step(batch, 0, "validation_step")
    return None if loss is None else float(loss), logged

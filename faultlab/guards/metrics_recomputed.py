"""The loss that validation reports is the one that the training step computes on the same batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import draws, trainer_state, trials
from faultlab.guards.support.training_view import TrainingView


class MetricsRecomputed(Guard):
    """Detects a logged validation metric that is not what an independent look at the same batches gives.

    A copy of the module in eval mode computes its training loss on each validation batch, without gradients; their mean
    over all samples is compared with the logged metric (the one given, if its name has "loss" in it, else the loss of
    validation). The two may differ by design, by label smoothing or a penalty say: so they are only held to agree
    (within ``tolerance``, a share) once they have agreed, mostly in the sanity check already, and that not by chance:
    with other weights, too, both steps have to give the same for a batch. With ``strict`` they always have to agree.

    ``compute`` is another way to recompute, ``compute(module, batch)`` giving the metric's mean over a batch; that one
    has to agree from the beginning. Without it the guard keeps quiet under manual optimisation, for metrics that are no
    losses, and for batches whose number of samples it can't tell, and where the step draws
    random numbers.
    """

    level: ClassVar[Level] = "full"
    judges = "metrics"
    checks = {
        "differs": "the logged metric is not the recomputed one",
        "mean-of-means": "the logged metric is the mean of the batches' means, and not that over the samples",
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
        self._due = False
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
        self._trial, self._first, self._due = None, None, False
        if trainer.is_fitting and (
            self.compute is not None or (trainer_state.learns(pl_module) and self._is_loss(self.metric))
        ):
            self._due = True

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # By now weights that are averaged are in their place.
        if self._due:
            self._due = False
            self._trial = trials.shared(pl_module, trainer, self.skip)

    def on_validation_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._trial is None:
            return
        size = trainer_state.samples(batch)
        value = None if size is None else self._recompute(self._trial, batch, batch_idx)
        if value is None or size is None or dataloader_idx:
            self._trial = self._first = None
            if size is None:
                self.skip("the tensors of a batch do not agree on the number of its samples")
            elif dataloader_idx:
                self.skip("there are several validation loaders")
        else:
            self.looked += 1
            self._values.append((value, size))
            if batch_idx == 0:
                self._first = batch

    def _recompute(self, trial: trials.Trial, batch: Any, batch_idx: int) -> float | None:
        try:
            with trial.running(evaluates=True):
                if self.compute is not None:
                    return trainer_state.number(self.compute(trial.module, batch))
                before = draws.mark()
                outputs = trial.step(batch, batch_idx)
                # A loss that rests on chance is another each time.
                if draws.since(before):
                    self.skip("the loss rests on chance")
                    return None
            loss = trainer_state.loss_of(outputs)
            if loss is None:
                self.skip("the training step returns no loss")
                return None
            return float(loss)
        except Exception as error:
            self.skip(f"the loss can't be computed anew: {type(error).__name__}: {error}")
            return None

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        trial, first = self._trial, self._first
        self._trial = self._first = None
        found = trainer_state.metrics(trainer)
        name = (self.metric if self.metric in found else "") or trainer_state.validation_loss(found)
        if trial is None or not self._values or not name or not (self.compute or self._is_loss(name)):
            return
        samples = sum(size for _, size in self._values)
        mean = sum(value * size for value, size in self._values) / samples
        of_means = sum(value for value, _ in self._values) / len(self._values)
        logged = found[name]
        if not math.isfinite(mean) or self._near(logged, mean, 1e-4 * (1 + 9 * (abs(mean) < 1e-3))):
            if not self._agreed:
                trials.keep_apart(pl_module)
                self._agreed = self._is_by_design(name, trial, first)
            return
        if not self._near(of_means, mean, 1e-3) and self._near(logged, of_means, 1e-4):
            self.alarm(
                "mean-of-means",
                f"{name} is logged as {logged:.6g}, the average of the batches' averages, where the mean over its "
                f"{samples} samples is {mean:.6g}: a small batch counts as much as a large one",
                "Log it with the number of samples as batch_size, and not with a fixed one.",
            )
        elif self._near(logged, mean, self.tolerance):
            # As near as this other losses come by chance: no reason to expect that they agree.
            return
        elif self._agreed or self.strict or self.compute is not None:
            self.alarm(
                "differs",
                f"the metric {name} is logged as {logged:.6g}, and recomputed on the same {samples} samples it is "
                f"{mean:.6g}",
                "Is it the value of these batches alone (not accumulated without a reset, not an old or constant one, "
                "not that of training), and does validation run in eval mode?",
            )

    def _is_by_design(self, name: str, trial: trials.Trial, batch: Any) -> bool:
        """Whether both agree with other weights too; where that can't be tried, that they have is enough."""
        if self.compute is not None or batch is None:
            return True
        try:
            with trial.running(evaluates=True):
                loss, logged = _with_other_weights(trial, batch)
        except Exception as error:
            self.skip(f"the copy's validation step failed: {type(error).__name__}: {error}")
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


def _with_other_weights(trial: trials.Trial, batch: Any) -> tuple[float | None, dict[str, float]]:
    """What the copy's training step returns, and what its validation step logs, with weights that nobody learnt.

    At its beginning a loss that weighs its terms by parameters, or smooths its labels, may be the one without that.
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

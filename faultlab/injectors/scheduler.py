"""scheduler: failure modes of the learning rate schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Optimizers, StepCall
from faultlab.frameworks.torch.optimizers import optimizers_in, schedules_in
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode

_TIMING = ("interval", "frequency", "name")


def _timing(schedule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schedule.items() if key in _TIMING}


def _without_schedulers(result: Any) -> list[torch.optim.Optimizer]:
    """Return the optimizers with the learning rates that they had before a scheduler's constructor changed them."""
    optimizers = optimizers_in(result)
    for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
        group["lr"] = group.get("initial_lr", group["lr"])
    return optimizers


@failure_mode(
    "scheduler.missing",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "constant"),
    needs=(
        "configured-optimizers",
        "scheduler",
    ),
    evidence=("Linaqruf/kohya-trainer#38",),
)
def leave_out_scheduler(result: Any, ctx: Context) -> Any:
    """There is no scheduler, so the learning rate keeps its initial value.

    Effect: there is no warm-up and no decay. No error or warning is raised.
    Why it goes undetected: training works; without warm-up it may diverge early, without decay it ends slightly worse.
    Example:
        scheduler = CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return optimizer                        # without the scheduler
    Remedy: log the learning rate, and check that it changes.
    """
    return _without_schedulers(result)


@failure_mode(
    "scheduler.unstepped",
    seam=StepCall("lr_scheduler_step"),
    severity="minor",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "constant", "warm"),
    needs=("scheduler",),
    evidence=("voicepaw/so-vits-svc-fork#291", "Lightning-AI/pytorch-lightning#6825"),
)
def leave_unstepped(call: Call, ctx: Context) -> None:
    """The scheduler exists but is never stepped.

    Effect: the learning rate stays at the scheduler's first value, which is tiny with warm-up. No error or warning is
    raised.
    Why it goes undetected: the scheduler is configured and saved in every checkpoint. Under manual optimization the
    module has to step it, which a module that was converted does not do.
    Example:
        def lr_scheduler_step(self, scheduler, metric):
            if self.trainer.global_step > self.hparams.warmup:      # never true in a short run
                scheduler.step()
    Remedy: log the learning rate, and check that it changes.
    """


@failure_mode(
    "scheduler.per-batch",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "interval", "decay"),
    needs=("epoch-scheduler", "automatic-optimization"),
    evidence=("automl/Auto-PyTorch#210", "ivadomed/ivadomed#55"),
)
def step_per_batch(result: Any, ctx: Context) -> Any:
    """A scheduler that counts in epochs is stepped after every batch.

    Effect: the learning rate completes its whole schedule in the first few epochs or batches, and is almost zero from
    then on. No error or warning is raised. ReduceLROnPlateau raises an error if its metric does not exist yet.
    Why it goes undetected: the loss falls and then flattens, as it does when a model has converged.
    Example:
        {"scheduler": StepLR(optimizer, 1, 0.95), "interval": "step"}
    Remedy: log the learning rate at each step, and check that it is not negligible halfway.
    """
    return optimizers_in(result), [{**schedule, "interval": "step"} for schedule in schedules_in(result)]


@failure_mode(
    "scheduler.key-typo",
    seam=Optimizers,
    severity="minor",
    effect="warns",
    cause=("key", "scheduler", "learning rate", "learning_rate"),
    needs=(
        "configured-optimizers",
        "scheduler",
    ),
    evidence=("iKernels/transformers-lightning#44", "Lightning-AI/pytorch-lightning#4929"),
)
def misspell_key(result: Any, ctx: Context) -> Any:
    """The scheduler is returned under a key that Lightning does not know.

    Effect: Lightning warns about unsupported keys in the optimizer configuration and trains without the scheduler, at
    the first value that its constructor set.
    Why it goes undetected: it is one line among the warnings at startup.
    Example:
        return {"optimizer": optimizer, "scheduler": scheduler}     # "lr_scheduler" is the key
    Remedy: turn the warning into an error; check that the Trainer has as many `lr_scheduler_configs` as were created.
    """
    schedules = schedules_in(result)
    return [
        {"optimizer": optimizer, "schedulers": [s for s in schedules if s["scheduler"].optimizer is optimizer]}
        for optimizer in optimizers_in(result)
    ]


@failure_mode(
    "scheduler.collapses",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "collaps", "decay"),
    doses=(Dose("gamma", 1e-3, 0.0, 1.0, "factor for the learning rate at each scheduler step", harmless=1.0),),
    needs=("scheduler",),
    evidence=("shayneobrien/coreference-resolution#22", "LINCellularNeuroscience/VAME#26"),
)
def collapse_rate(result: Any, ctx: Context) -> Any:
    """The scheduler multiplies the learning rate by far too small a factor.

    Effect: after the scheduler's first step the learning rate is negligible, and training stands still. No error or
    warning is raised.
    Why it goes undetected: the loss is flat and smooth, as it is when a model has converged.
    Example:
        ExponentialLR(optimizer, gamma=self.hparams.decay)      # a decay of 0.001 is a gamma of 0.999
    Remedy: log the learning rate, and check that it is not negligible halfway.
    """
    optimizers = _without_schedulers(result)
    return optimizers, [
        {**_timing(schedule), "scheduler": ExponentialLR(schedule["scheduler"].optimizer, ctx.dose.gamma)}
        for schedule in schedules_in(result)
    ]


@failure_mode(
    "scheduler.foreign-optimizer",
    seam=Optimizers,
    severity="minor",
    effect={"lightning": "raises", "torch": "warns"},
    cause=("scheduler", "attached", "optimizer"),
    needs=("scheduler",),
    evidence=("Lightning-AI/pytorch-lightning#5338", "roboterax/video-prediction-policy#14"),
)
def schedule_foreign_optimizer(result: Any, ctx: Context) -> Any:
    """The scheduler controls a different optimizer from the one that trains.

    Effect: Lightning raises a `MisconfigurationException` before training: some schedulers are attached with an
    optimizer that wasn't returned.
    Why it goes undetected: it does not go undetected in Lightning. In a hand-written training loop the learning rate
    is constant, and torch warns only that `lr_scheduler.step()` was called before `optimizer.step()`, which is not so.
    Example:
        scheduler = StepLR(self.make_optimizer(), 10)
        return [self.make_optimizer()], [scheduler]     # a second one
    Remedy: create the optimizer once; run `fast_dev_run=True` in a test.
    """
    for schedule in schedules_in(result):
        parameters = [p for group in schedule["scheduler"].optimizer.param_groups for p in group["params"]]
        foreign = torch.optim.SGD(parameters, lr=1e-3)
        # A scheduler that is constructed on it has torch notice whether it is stepped.
        torch.optim.lr_scheduler.LambdaLR(foreign, lambda epoch: 1.0)
        schedule["scheduler"].optimizer = foreign
    return result


@failure_mode(
    "scheduler.monitor-missing",
    seam=Optimizers,
    severity="minor",
    effect="raises",
    cause=("monitor", "metric", "not available"),
    needs=("scheduler", "automatic-optimization"),
    evidence=("jbohnslav/deepethogram#89", "Lightning-AI/pytorch-lightning#20829"),
)
def monitor_nothing(result: Any, ctx: Context) -> Any:
    """The scheduler is a ReduceLROnPlateau that monitors a metric that is never logged.

    Effect: Lightning raises a `MisconfigurationException` when the scheduler is first stepped: the metric is not
    available.
    Why it goes undetected: it does not go undetected, but it occurs at the end of the first epoch, after its
    validation. With `strict=False` it is a warning, and the learning rate stays constant.
    Example:
        {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val/loss"}      # logged as val_loss
    Remedy: run two short epochs in a test; `fast_dev_run=True` finds it, too.
    """
    optimizers = _without_schedulers(result)
    return optimizers, [
        {**_timing(schedule), "scheduler": ReduceLROnPlateau(schedule["scheduler"].optimizer), "monitor": "unlogged"}
        for schedule in schedules_in(result)
    ]


@failure_mode(
    "scheduler.stepped-per-process",
    seam=StepCall("lr_scheduler_step"),
    severity="major",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "decay", "too fast", "warm"),
    needs=("scheduler",),
    doses=(Dose("processes", 4, 1, 1024, "number of times that the scheduler is stepped instead of once"),),
    evidence=("huggingface/transformers#24088", "Lightricks/LTX-Video-Trainer#67"),
)
def step_for_each_process(call: Call, ctx: Context) -> Any:
    """The scheduler is stepped as many times at once as there are processes.

    Effect: the schedule ends after a fraction of the training, and the rest of it runs at the final learning rate. No
    error or warning is raised.
    Why it goes undetected: the curve of the learning rate has the right shape, compressed, and on a single process
    nothing is wrong.
    Example:
        scheduler = accelerator.prepare(get_scheduler("cosine", optimizer, 0, steps))   # steps of one process
    Remedy: log the learning rate, and check that the schedule ends where training does.
    """
    result = None
    for _ in range(int(ctx.dose.processes)):
        result = call()
    return result

"""callback: the user's callbacks themselves, by which a failure is to be detected."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import CallbackHook
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode

_BUILT_BY = ("setup", "teardown")


def _busiest(ctx: Context, between_steps: bool = False) -> bool:
    """Whether this is a call of the callback's busiest hook."""
    name = ctx.profile.callbacks[0] if ctx.dose.callback == "first" else ctx.dose.callback
    return bool(ctx.memory["hook"] == ctx.profile.busiest_hook(name, between_steps))


def _late(ctx: Context) -> bool:
    """Whether half of the training is over; hooks of an epoch's end come with its last step."""
    return bool(ctx.step + 1 >= ctx.profile.steps // 2)


@failure_mode(
    "callback.raises",
    seam=CallbackHook,
    severity="minor",
    effect="raises",
    cause=("callback",),
    stages="every",
    doses=(Dose("callback", "first", meaning="which one, by its class"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#6480", "Lightning-AI/pytorch-lightning#4350"),
)
def raise_in_hook(call: Call, ctx: Context) -> Any:
    """A callback raises half-way through the training, in the hook that is called most.

    Effect: the exception leaves `fit` as it is: Lightning does not tell callbacks that only look from others.
    Why it goes undetected: it does not; the training is lost for something that was only to be watched.
    Example:
        def on_validation_end(self, trainer, pl_module):
            self.best = min(self.best, trainer.callback_metrics["val_loss"])    # not logged in this epoch
    Remedy: train two short epochs with the real callbacks in a test.
    """
    if _busiest(ctx) and _late(ctx):
        raise ctx.intended(RuntimeError("injected by callback.raises: this callback can't go on"))
    return call()


@failure_mode(
    "callback.hook-misnamed",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "hook", "never called"),
    stages="every",
    doses=(Dose("callback", "first", meaning="which one, by its class"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#18462 (a hook of the module)", "scverse/scvi-tools#1913"),
)
def misname_hook(call: Call, ctx: Context) -> Any:
    """A hook of a callback has a name that Lightning does not know, and is never called: the one that is called most.

    Effect: whatever the hook does is not done. Nobody says a word: Lightning does not look for methods that are almost
    hooks. Where it only watches, a healthy run is the same without it.
    Why it goes undetected: a guard that is never called and one that finds nothing look the same.
    Example:
        def on_training_epoch_end(self, trainer, pl_module):        # on_train_epoch_end
    Remedy: test each guard with a training that it has to stop.
    """
    return None if _busiest(ctx) else call()


@failure_mode(
    "callback.swallows",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "swallow"),
    stages="every",
    doses=(Dose("callback", "first", meaning="which one, by its class"),),
    needs=("callback-hook",),
    evidence=("akaszubski/autonomous-dev#715", "Lightning-AI/pytorch-lightning#20187"),
)
def swallow(call: Call, ctx: Context) -> Any:
    """A callback's hooks fail in their first line, and catch what they raise: their work is left undone.

    Effect: the callback is set up and does nothing from then on. Nobody says a word. Where it only watches, a healthy
    run is the same without it.
    Why it goes undetected: the `except` was written so that a failing callback would not end the training.
    Example:
        try:
            self.check(trainer.callback_metrics["val_loss"])
        except Exception:                           # the check's own AssertionError too
            log.debug("check failed")
    Remedy: catch what you expect by its class; test each guard with a training that it has to stop.
    """
    return call() if ctx.memory["hook"] in _BUILT_BY else None


@failure_mode(
    "callback.disabled",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "missing", "not called"),
    stages="every",
    doses=(Dose("callback", "each", meaning="which one, by its class; each in turn if nothing is said"),),
    needs=("called-callback",),
    evidence=("raspberryice/gen-arg#7", "Lightning-AI/pytorch-lightning#6763"),
)
def disable(call: Call, ctx: Context) -> None:
    """A callback is not among the Trainer's.

    Effect: none of its hooks is called: a training that would have been stopped, saved or logged is not. Nobody says a
    word. Where it only watches, a healthy run is the same without it.
    Why it goes undetected: nobody misses the callback that finds nothing.
    Example:
        trainer = Trainer(callbacks=[checkpoint])   # and the early stopping made three lines above?
    Remedy: assert in a test that `trainer.callbacks` holds each guard; test each with a training that it has to stop.
    """


@failure_mode(
    "callback.stops-early",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "stopped", "should_stop", "early", "epoch"),
    stages="every",
    doses=(Dose("callback", "first", meaning="which one, by its class"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#2038", "Lightning-AI/pytorch-lightning#1751"),
)
def stop_early(call: Call, ctx: Context) -> Any:
    """A callback stops the training half-way, though nothing is wrong.

    Effect: training ends as if it were done, with fewer steps, and exits with status 0. Nobody says a word.
    Why it goes undetected: early stopping ends trainings every day, and the model is only a little worse.
    Example:
        EarlyStopping("val_loss", patience=10)      # and validation runs ten times an epoch
    Remedy: log why a training ended, and compare its steps with those that were planned.
    """
    result = call()
    if ctx.memory["hook"] not in _BUILT_BY and _late(ctx):
        ctx.trainer.should_stop = True
    return result


@failure_mode(
    "callback.mutates-weights",
    seam=CallbackHook,
    severity="critical",
    effect="silent",
    cause=("callback", "weight", "averag", "ema"),
    stages="every",
    doses=(
        Dose("callback", "first", meaning="which one, by its class"),
        Dose("decay", 0.99, 0.0, 1.0, "how much of the average stays each time"),
    ),
    needs=("repeated-callback-hook",),
    evidence=("PKU-YuanGroup/Open-Sora-Plan#186", "atomistic-machine-learning/schnetpack#785"),
)
def leave_average(call: Call, ctx: Context) -> Any:
    """A callback puts averaged weights into the model and never puts the trained ones back.

    Effect: training goes on from the average each time: most of what was learnt between two calls is undone. Nobody
    says a word.
    Why it goes undetected: the metrics are those of the average, smooth and plausible; progress is only slow.
    Example:
        def on_validation_start(self, trainer, pl_module):
            self.average.copy_to(pl_module)         # and no restore in on_validation_end
    Remedy: compare the weights before and after validation in a test; let callbacks work on a copy.
    """
    result = call()
    # Whoever writes to weights while their gradients are worked out is told so by torch.
    if _busiest(ctx, between_steps=True):
        with torch.no_grad():
            for name, parameter in ctx.module.named_parameters():
                if parameter.is_floating_point():
                    average = ctx.memory.setdefault(("average", name), parameter.detach().clone())
                    average.lerp_(parameter, 1 - ctx.dose.decay)
                    parameter.copy_(average)
    return result

"""callback: failure modes of the user's callbacks, which are meant to detect failures."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import CallbackHook
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode

_BUILT_BY = ("setup", "teardown")


def _busiest(ctx: Context, between_steps: bool = False) -> bool:
    """Return whether this is a call of the callback's most frequently called hook."""
    name = ctx.profile.callbacks[0] if ctx.dose.callback == "first" else ctx.dose.callback
    return bool(ctx.memory["hook"] == ctx.profile.busiest_hook(name, between_steps))


def _late(ctx: Context) -> bool:
    """Return whether half of the training is over; hooks at the end of an epoch run in its last step."""
    return bool(ctx.step + 1 >= ctx.profile.steps // 2)


@failure_mode(
    "callback.raises",
    seam=CallbackHook,
    severity="minor",
    effect="raises",
    cause=("callback",),
    stages="every",
    doses=(Dose("callback", "first", meaning="class name of the callback"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#6480", "Lightning-AI/pytorch-lightning#4350"),
)
def raise_in_hook(call: Call, ctx: Context) -> Any:
    """A callback raises halfway through training, in its most frequently called hook.

    Effect: the exception propagates out of `fit` unchanged: Lightning does not distinguish callbacks that only observe
    from others.
    Why it goes undetected: it does not go undetected, but the training is lost because of a callback that was only
    meant to observe.
    Example:
        def on_validation_end(self, trainer, pl_module):
            self.best = min(self.best, trainer.callback_metrics["val_loss"])    # not logged in this epoch
    Remedy: run two short epochs with the real callbacks in a test.
    """
    if _busiest(ctx) and _late(ctx):
        raise ctx.intended(RuntimeError("injected by callback.raises: this callback cannot continue"))
    return call()


@failure_mode(
    "callback.hook-misnamed",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "hook", "never called"),
    stages="every",
    doses=(Dose("callback", "first", meaning="class name of the callback"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#18462 (a hook of the module)", "scverse/scvi-tools#1913"),
)
def misname_hook(call: Call, ctx: Context) -> Any:
    """A callback's most frequently called hook has a misspelled name, so Lightning never calls it.

    Effect: the hook's work is not done. No error or warning is raised, because Lightning does not look for methods
    whose names resemble those of hooks. If the hook only observes, a clean run is the same without it.
    Why it goes undetected: a guard that is never called looks the same as a guard that finds nothing.
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
    doses=(Dose("callback", "first", meaning="class name of the callback"),),
    needs=("callback-hook",),
    evidence=("akaszubski/autonomous-dev#715", "Lightning-AI/pytorch-lightning#20187"),
)
def swallow(call: Call, ctx: Context) -> Any:
    """A callback's hooks fail on their first line and catch the exception, so their work is not done.

    Effect: the callback is set up, but does nothing afterwards. No error or warning is raised. If the callback only
    observes, a clean run is the same without it.
    Why it goes undetected: the `except` was written so that a failing callback does not end the training.
    Example:
        try:
            self.check(trainer.callback_metrics["val_loss"])
        except Exception:                           # catches the check's own AssertionError too
            log.debug("check failed")
    Remedy: catch only the exception classes that you expect; test each guard with a training that it has to stop.
    """
    return call() if ctx.memory["hook"] in _BUILT_BY else None


@failure_mode(
    "callback.disabled",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "missing", "not called"),
    stages="every",
    doses=(Dose("callback", "each", meaning="class name of the callback; by default each in turn"),),
    needs=("called-callback",),
    evidence=("raspberryice/gen-arg#7", "Lightning-AI/pytorch-lightning#6763"),
)
def disable(call: Call, ctx: Context) -> None:
    """A callback is missing from the Trainer's callbacks.

    Effect: none of its hooks is called, so a training that it should have stopped, saved or logged is not stopped,
    saved or logged. No error or warning is raised. If the callback only observes, a clean run is the same without it.
    Why it goes undetected: a callback that finds nothing is not missed.
    Example:
        trainer = Trainer(callbacks=[checkpoint])   # the early stopping created above is missing
    Remedy: assert in a test that `trainer.callbacks` contains each guard; test each guard with a training that it has
    to stop.
    """


@failure_mode(
    "callback.stops-early",
    seam=CallbackHook,
    severity="major",
    effect="silent",
    cause=("callback", "stopped", "should_stop", "early", "epoch"),
    stages="every",
    doses=(Dose("callback", "first", meaning="class name of the callback"),),
    needs=("callback-hook",),
    evidence=("Lightning-AI/pytorch-lightning#2038", "Lightning-AI/pytorch-lightning#1751"),
)
def stop_early(call: Call, ctx: Context) -> Any:
    """A callback stops the training halfway although nothing is wrong.

    Effect: training ends as if it were complete, with fewer steps and exit status 0. No error or warning is raised.
    Why it goes undetected: early stopping routinely ends trainings, and the model is only slightly worse.
    Example:
        EarlyStopping("val_loss", patience=10)      # validation runs ten times per epoch
    Remedy: log why a training ended, and compare its number of steps with the planned number.
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
        Dose("callback", "first", meaning="class name of the callback"),
        Dose("decay", 0.99, 0.0, 1.0, "weight of the old average in each update"),
    ),
    needs=("repeated-callback-hook",),
    evidence=("PKU-YuanGroup/Open-Sora-Plan#186", "atomistic-machine-learning/schnetpack#785"),
)
def leave_average(call: Call, ctx: Context) -> Any:
    """A callback copies averaged weights into the model and never restores the trained ones.

    Effect: training continues from the average each time, so most of what was learned between two calls is undone. No
    error or warning is raised.
    Why it goes undetected: the metrics are those of the average, which are smooth and plausible; progress is merely
    slow.
    Example:
        def on_validation_start(self, trainer, pl_module):
            self.average.copy_to(pl_module)         # no restore in on_validation_end
    Remedy: compare the weights before and after validation in a test; let callbacks work on a copy.
    """
    result = call()
    # torch raises if weights are modified in place while their gradients are being computed.
    if _busiest(ctx, between_steps=True):
        with torch.no_grad():
            for name, parameter in ctx.module.named_parameters():
                if parameter.is_floating_point():
                    average = ctx.memory.setdefault(("average", name), parameter.detach().clone())
                    average.lerp_(parameter, 1 - ctx.dose.decay)
                    parameter.copy_(average)
    return result

"""precision: failure modes of the numerical precision of training."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.injection_points import Mode, TrainerArguments
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "precision.half",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("precision", "half", "float16", "underflow", "overflow", "not finite", "dtype"),
    needs=("not-half",),
    evidence=("Lightning-AI/pytorch-lightning#20619",),
)
def train_in_half(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The model itself is in half precision, where mixed precision was intended.

    Effect: weights, gradients and the optimizer's moments are float16. Values below 3e-8 become zero, including Adam's
    epsilon, and weights become NaN where the step divides by it. Values above 65504 become infinite, and an update
    smaller than a 4000th of its weight is always lost. No error or warning is raised. SGD works for a while.
    Why it goes undetected: it is faster and takes half the memory, as mixed precision is expected to.
    Example:
        Trainer(precision="16-true")            # "16-mixed" keeps the weights in float32
    Remedy: assert that the parameters are float32, and that weights change by the amount that the learning rate
    implies.
    """
    return {**arguments, "precision": "16-true"}


@failure_mode(
    "precision.bfloat",
    seam=TrainerArguments,
    severity="major",
    effect="silent",
    cause=("precision", "bfloat16", "underflow", "dtype", "did not change"),
    needs=("not-bfloat",),
    evidence=("tianweiy/CausVid#19", "pytorch/ao#1124"),
)
def train_in_bfloat(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The model itself is in bfloat16, where mixed precision was intended.

    Effect: nothing overflows, but a number has only two or three significant digits: an update smaller than a 500th of
    its weight is always rounded away, so learning stops as the updates get finer. No error or warning is raised.
    Why it goes undetected: NaN never occurs, and the loss falls at first.
    Example:
        Trainer(precision="bf16-true")          # "bf16-mixed" keeps the weights in float32
    Remedy: assert that the parameters are float32, and that weights change by the amount that the learning rate
    implies.
    """
    return {**arguments, "precision": "bf16-true"}


@failure_mode(
    "precision.autocast-bypassed",
    seam=Mode,
    severity="minor",
    effect="silent",
    cause=("precision", "autocast", "float32", "dtype"),
    needs=("mixed-precision",),
    evidence=("Lightning-AI/lightning-thunder#725", "Lightning-AI/lightning-thunder#796"),
)
def bypass_autocast(module: torch.nn.Module, ctx: Context) -> None:
    """Mixed precision is configured, but the training step runs outside autocast.

    Effect: everything is computed in full precision: slower, with more memory, and with slightly different numbers. No
    error or warning is raised.
    Why it goes undetected: the Trainer reports that it uses mixed precision, and the model learns equally well.
    Example:
        with torch.autocast("cuda", enabled=False):     # first around a loss that overflowed, then around everything
            return self.shared_step(batch)
    Remedy: assert the dtype of the model's output during training.
    """
    torch.set_autocast_enabled(ctx.trainer.strategy.root_device.type, False)


@failure_mode(
    "precision.anomaly-flags-left-on",
    seam=TrainerArguments,
    severity="minor",
    effect="silent",
    cause=("anomaly", "slow"),
    needs=("no-anomaly-detection",),
    evidence=("Lightning-AI/pytorch-lightning#17359", "yenchenlin/nerf-pytorch#42"),
)
def leave_anomaly_detection(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`detect_anomaly` is still enabled from debugging.

    Effect: every operation records where it was called, and backward checks for NaN, which makes training several times
    slower; the result of learning is the same. Lightning only logs this at info level. A NaN in backward now raises an
    error.
    Why it goes undetected: nothing is wrong except the time that training takes.
    Example:
        Trainer(detect_anomaly=True)            # left from debugging a NaN
    Remedy: set the flag only in the debugging script; log the seconds per step.
    """
    return {**arguments, "detect_anomaly": True}

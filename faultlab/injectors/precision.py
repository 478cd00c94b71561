"""precision: the numbers that training computes in."""

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
    """The model itself is in half precision, where mixed precision was meant.

    Effect: weights, gradients and the optimizer's moments are float16. What is below 3e-8 is zero, Adam's epsilon
    among it, and the weights become NaN where it is divided by; what exceeds 65504 is infinite; and an update of less
    than a 4000th of its weight is always lost. Nobody says a word. SGD gets along for a while.
    Why it goes undetected: it is faster and takes half the memory, as mixed precision is expected to.
    Example:
        Trainer(precision="16-true")            # "16-mixed" keeps the weights in float32
    Remedy: assert that the parameters are float32, and that weights change by what the learning rate says.
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
    """The model itself is in bfloat16, where mixed precision was meant.

    Effect: nothing overflows, but a number has two or three significant digits: an update of less than a 500th of its
    weight is always rounded away, so that learning comes to a halt as it gets finer. Nobody says a word.
    Why it goes undetected: no NaN ever shows, and the loss falls to begin with.
    Example:
        Trainer(precision="bf16-true")          # "bf16-mixed" keeps the weights in float32
    Remedy: assert that the parameters are float32, and that weights change by what the learning rate says.
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
    """Mixed precision is asked for, and the training step runs outside autocast.

    Effect: everything is computed in full precision: slower, with more memory, and with slightly other numbers. Nobody
    says a word.
    Why it goes undetected: the Trainer says that it uses mixed precision, and the model learns no worse.
    Example:
        with torch.autocast("cuda", enabled=False):     # around a loss that overflowed, and then around everything
            return self.shared_step(batch)
    Remedy: assert the dtype of what the model gives while it trains.
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
    """`detect_anomaly` is still on from debugging.

    Effect: every operation records where it was made and backward looks for NaN, which makes training several times
    slower; what is learnt is the same. Lightning says so at the level of information. A NaN in backward now raises.
    Why it goes undetected: nothing is wrong but the time it takes.
    Example:
        Trainer(detect_anomaly=True)            # while a NaN was hunted down
    Remedy: have the flag set by the debugging script only; log the seconds a step takes.
    """
    return {**arguments, "detect_anomaly": True}

"""optimizer: failure modes of the settings of parameter groups."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue.injection_points import Optimizers
from faultlab.frameworks.torch.optimizers import equalize_rates, optimizers_in
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "optimizer.group-rates-overwritten",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("group", "learning rate", "learning_rate", "schedul", "backbone", "overwrit"),
    needs=("group-rates",),
    evidence=("katsura-jp/pytorch-cosine-annealing-with-warmup#14", "deepspeedai/DeepSpeed#8171"),
)
def overwrite_rates(result: Any, ctx: Context) -> Any:
    """One learning rate, the highest, overwrites those of all parameter groups.

    Effect: parameters that should change slowly, as those of a pretrained backbone, learn as fast as a new head, and
    forget what they knew. No error or warning is raised.
    Why it goes undetected: the groups exist, the logged rate of the first or last group is the intended one, and the
    loss falls, often faster at first.
    Example:
        for group in optimizer.param_groups:    # in the step of a schedule
            group["lr"] = self.max_lr * self.share()        # group["initial_lr"]
    Remedy: log the rate of every group; let schedules scale the rates that the groups were created with.
    """
    return equalize_rates(result)


@failure_mode(
    "optimizer.exempt-groups-decayed",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("weight decay", "weight_decay", "group", "norm", "bias", "shrink"),
    needs=("spared-groups",),
    evidence=("ServiceNow/Fast-LLM#542", "Lightning-AI/lit-llama#254"),
)
def decay_all_groups(result: Any, ctx: Context) -> Any:
    """Weight decay applies to all parameters, also to the norms and biases that were excluded from it.

    Effect: the gains of normalizations shrink below 1, and biases toward 0, for no benefit. No error or warning is
    raised.
    Why it goes undetected: most parameters are matrices, which are decayed as they should be; the model is only
    slightly worse.
    Example:
        torch.optim.AdamW(self.parameters(), weight_decay=0.1)      # a refactoring lost the second group
    Remedy: compare the settings of each parameter group with those of the reference run; log the mean gain of the
    normalizations.
    """
    for optimizer in optimizers_in(result):
        decays = [group["weight_decay"] for group in optimizer.param_groups if group.get("weight_decay") is not None]
        for group in optimizer.param_groups:
            if group.get("weight_decay") is not None:
                group["weight_decay"] = max(decays)
    return result

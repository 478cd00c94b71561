"""average: failure modes of averages of the weights, which are evaluated and saved in place of the trained ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from faultlab.catalogue.injection_points import Averaging, Checkpoint
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode

_COUNTER = "n_averaged"


def _floating(ctx: Context) -> Iterator[torch.Tensor]:
    average = ctx.memory["average"].module
    return (tensor for tensor in [*average.parameters(), *average.buffers()] if tensor.is_floating_point())


@failure_mode(
    "average.pushed-away",
    seam=Averaging,
    severity="critical",
    effect="silent",
    cause=("averag", "ema", "shadow", "weight", "diverge", "sign"),
    evidence=("ostris/ai-toolkit#1034",),
)
def push_away(call: Call, ctx: Context) -> Any:
    """The sign of the average's update is wrong: each update moves it away from the weights instead of toward them.

    Effect: the average grows exponentially, until it overflows. Where it is evaluated or saved, the model is useless;
    the trained weights are fine. No error or warning is raised.
    Why it goes undetected: the training loss is that of the trained weights, and nothing in the loop looks at the
    average unless validation uses it.
    Example:
        gap = average - weight
        average.add_(gap * (1 - decay))         # sub_
    Remedy: validate with the weights that are saved; log the distance of the average from the weights.
    """
    before = [tensor.detach().clone() for tensor in _floating(ctx)]
    first = not int(ctx.memory["average"].n_averaged)
    result = call()
    if not first:
        with torch.no_grad():
            for old, tensor in zip(before, _floating(ctx)):
                tensor.copy_(2 * old - tensor)
    return result


@failure_mode(
    "average.in-bfloat16",
    seam=Averaging,
    severity="major",
    effect="silent",
    cause=("averag", "ema", "shadow", "bfloat16", "bf16", "half", "precision", "round", "lost"),
    evidence=("d8ahazard/sd_dreambooth_extension#1417", "d8ahazard/sd_dreambooth_extension#1415"),
)
def round_average(call: Call, ctx: Context) -> Any:
    """The average is kept in bfloat16, where small updates are rounded away.

    Effect: an update smaller than a 500th of its weight is lost. With a decay close to 1 almost all updates are, so the
    average stays where it began, while the trained weights are fine. No error or warning is raised.
    Why it goes undetected: the average of an early model is a plausible model, and it takes half the memory.
    Example:
        average = AveragedModel(model.to(torch.bfloat16), multi_avg_fn=get_ema_multi_avg_fn(0.999))
    Remedy: keep the average in float32, whatever the type of the weights; assert that it moves. No ready-made guard
    looks at how an average is kept.
    """
    result = call()
    with torch.no_grad():
        for tensor in _floating(ctx):
            tensor.copy_(tensor.bfloat16())
    return result


@failure_mode(
    "average.starts-late",
    seam=Averaging,
    severity="major",
    effect="silent",
    cause=("averag", "ema", "swap", "same weight", "untrained", "initial", "constant", "did not change"),
    needs=("several-steps",),
    evidence=("Lightning-AI/pytorch-lightning#21724", "Lightning-AI/pytorch-lightning#21754"),
)
def start_late(call: Call, ctx: Context) -> Any:
    """The average is first updated halfway through the training, but used from the beginning.

    Effect: until then, validation with the average is that of the initial weights, and so are checkpoints of it. No
    error or warning is raised. `EMAWeightAveraging` of Lightning 2.6 does so if `update_starting_at_step` is set.
    Why it goes undetected: the training loss falls, and the metrics are right in the end.
    Example:
        EMAWeightAveraging(update_starting_at_step=1000)        # and validation every 100 steps
    Remedy: use the average only once it was updated, `n_averaged > 0`.
    """
    return call() if ctx.step >= ctx.profile.steps // 2 else None


@failure_mode(
    "average.counter-lost",
    seam=Averaging,
    severity="major",
    effect="silent",
    cause=("averag", "ema", "shadow", "resum", "checkpoint", "restor", "counter", "updates"),
    needs=("kept-average",),
    evidence=("lightly-ai/lightly-train#892", "ai2cm/ace#819"),
    judged_by="reload",
)
def lose_counter(call: Call, ctx: Context) -> Any:
    """The number of updates of an average is not restored with it.

    Effect: the first update after resuming takes the average for a new one and replaces it by the trained weights; an
    average whose decay is warmed up is warmed up once more. No error or warning is raised.
    Why it goes undetected: weights and average are restored correctly, and metrics drop for a while after a resume.
    Example:
        self.updates = 0                        # self.register_buffer("updates", torch.zeros((), dtype=torch.long))
    Remedy: keep counters in buffers; in a test, train two epochs in one run and in two halves with a resume between
    them, and compare the averages. No ready-made guard does so.
    """
    average = ctx.memory["average"]
    known = ctx.memory.setdefault("known", [])
    met = any(average is one for one in known)
    known.append(average)
    # An average that was not restored has had no update before its first one.
    return call() if met or not int(average.n_averaged) else call(updates=0)


@failure_mode(
    "average.saved-alone",
    seam=Checkpoint("state"),
    severity="major",
    effect="silent",
    cause=("averag", "ema", "shadow", "resum", "checkpoint", "restor", "weight"),
    stages="every",
    needs=("kept-average",),
    evidence=("Megvii-BaseDetection/YOLOX#1318", "ultralytics/ultralytics#9426"),
    judged_by="reload",
)
def save_average_alone(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Checkpoints have the average of the weights in place of the trained weights.

    Effect: the best checkpoint evaluates well. A resumed training continues from the average, to which the momenta of
    the optimizer do not belong. No error or warning is raised.
    Why it goes undetected: the average is usually better than the weights, so the loss is lower after the resume.
    Example:
        torch.save({"model": average.module.state_dict(), "optimizer": optimizer.state_dict()}, path)
    Remedy: save both; in a test, train two epochs in one run and in two halves with a resume between them, and compare
    the weights. No ready-made guard does so.
    """
    state = checkpoint["state_dict"]
    beside = [key for key, value in checkpoint.items() if isinstance(value, Mapping) and value.keys() == state.keys()]
    if len(beside) > 1:
        # Of several sets, `state_dict` is the one that is evaluated: the average.
        return {**checkpoint, **{key: dict(state) for key in beside}}
    numbers = [name.partition(" ")[0] for name in state if name.partition(" ")[2] == _COUNTER]
    averages = {f"{own} {name}": value for own in numbers for name, value in _inside(state, own)}
    return {**checkpoint, "state_dict": {name: _average_of(name, value, averages) for name, value in state.items()}}


def _inside(state: Mapping[str, Any], number: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of the average that has this number among the sets of a checkpoint, by the module's names."""
    prefix = f"{number} module."
    return ((name.removeprefix(prefix), value) for name, value in state.items() if name.startswith(prefix))


def _average_of(name: str, value: Any, averages: Mapping[str, Any]) -> Any:
    """Return the average of a weight; the value itself without one."""
    own = name.partition(" ")[2]
    return next((average for key, average in averages.items() if key.partition(" ")[2] == own), value)

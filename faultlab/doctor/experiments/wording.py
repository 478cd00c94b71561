"""The words of the findings that experiments give."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from faultlab.doctor.experiments.course import Case, Course
from faultlab.doctor.finding import Finding, attention, wrong

_MUCH_WORSE = 2.0

PARTS: dict[str, tuple[str, str, str]] = {
    "standardized": (
        "inputs",
        "the inputs are not normalized: their mean is {mean:.3g} and their standard deviation {deviation:.3g}, and "
        "nothing is learned from them",
        "Normalize the inputs: subtract the mean of the training data, and divide by its standard deviation.",
    ),
    "cleared": (
        "gradient clearing",
        "gradients of earlier steps are still there in later ones, and keep the training from learning",
        "Call optimizer.zero_grad() before loss.backward() in every step.",
    ),
    "clipping": (
        "gradient clipping",
        "the clipping of gradients keeps the training from learning",
        "Remove the clipping, or clip to about the usual norm of the gradients.",
    ),
    "schedule": (
        "learning rate schedule",
        "the schedule of the learning rate keeps the training from learning: the rate that the optimizer was made with "
        "does not",
        "Compare the schedule's length and unit with the training's: steps or epochs; print the rate in each epoch.",
    ),
    "decay": (
        "weight decay",
        "weight decay keeps the training from learning",
        "Reduce weight_decay; start with 1e-4 (Adam, SGD) or 1e-2 (AdamW).",
    ),
    "dropout": (
        "dropout",
        "dropout keeps the training from learning",
        "Reduce the dropout's p, which is the share that is dropped, not the share that is kept.",
    ),
    "order": (
        "order of samples",
        "the order or choice of the samples keeps the training from learning",
        "Set shuffle=True on the training loader, and check the weights of its sampler.",
    ),
    "precision": (
        "precision",
        "mixed precision keeps the training from learning",
        "Train in float32, or in bfloat16; with float16 scale the loss by a GradScaler, and unscale before clipping.",
    ),
    "initial": (
        "initial weights",
        "the initial weights keep the training from learning",
        "Leave the layers their default initial weights, or use nn.init.kaiming_normal_ or xavier_uniform_; constant, "
        "zero or very large ones hinder it.",
    ),
    "seed": (
        "random seed",
        "it depends on the random seed whether the training learns at all",
        "Make it less sensitive: default initial weights, a lower learning rate at the beginning (warm-up), "
        "normalization, or clipping of gradients.",
    ),
}
LATE = ("seed",)
"""Parts that are blamed only where nothing else is."""
ALWAYS = ("seed", "cleared", "initial", "dropout")
EVALUATED: dict[str, tuple[str, str]] = {
    "evaluates at rest": (
        "the model is evaluated in training mode, which spoils its evaluation",
        "Call model.eval() before the evaluation, and model.train() after it.",
    ),
    "own statistics": (
        "the statistics that BatchNorm keeps for evaluation are not those of the data: the evaluation is far worse "
        "with them than with each batch's own",
        "Check the momentum of BatchNorm, whether training and evaluation data are preprocessed alike, whether the "
        "training calls the model in train mode on what it is evaluated on, and whether its buffers are copied and "
        "loaded with the weights.",
    ),
}
WITH = {
    "standardized": "with standardized inputs",
    "cleared": "with gradients cleared after each step",
    "clipping": "without clipping",
    "schedule": "with a constant learning rate",
    "decay": "without weight decay",
    "dropout": "without dropout",
    "order": "with each sample drawn once, in random order",
    "precision": "in float32",
    "initial": "with the layers' default initial weights",
    "seed": "with another seed",
    "evaluates at rest": "in evaluation mode",
    "own statistics": "with the statistics of each batch",
}
NAMES = {**WITH, "rate": "other learning rates", "adamw": "AdamW"}


def ends(case: Case) -> str:
    end = case.course.end
    return f"the loss ends at {end:.3g}" if math.isfinite(end) else "the loss ends at NaN or infinity"


def of_part(case: Case, name: str, end: float, say: Callable[[str, str, str], Finding]) -> Finding:
    check, cause, remedy = PARTS[name]
    values = {key: case.inputs.get(key, 0.0) for key in ("mean", "deviation")}
    return replace(say(cause.format(**values), f"{ends(case)}, and at {end:.3g} {WITH[name]}", remedy), check=check)


def of_rate(case: Case, factor: float, end: float) -> Finding:
    rate = case.rate
    if case.summed and factor < 1:
        what = (
            f"the loss is summed over the {case.summed['samples']} samples of a batch (reduction='sum'), which makes "
            f"the steps too long for the learning rate of {rate:g}"
        )
        remedy = "Write reduction='mean', or divide the learning rate by the batch size."
    else:
        what = f"the learning rate, {rate:g}, is too {'high' if factor < 1 else 'low'}"
        remedy = f"Try lr={rate * factor:g}."
    evidence = f"{ends(case)}, and at {end:.3g} with a learning rate of {rate * factor:g}"
    return replace(wrong(what, evidence, remedy), check="learning rate")


def of_settings(case: Case, end: float) -> Finding:
    names = " and ".join(case.settings)
    unusual = [f"{name}={value} (usually {usual})" for one in case.settings.values() for name, value, usual in one]
    set_to = ", ".join([f"lr={case.rate:g}", *unusual])
    what = f"the learning rate that acts or another setting of {names} keeps the training from learning: {set_to}"
    evidence = f"{ends(case)}, and at {end:.3g} with AdamW and its usual settings"
    return replace(
        wrong(
            what,
            evidence,
            "Check the rate of each step, also as the schedule sets it, and use the optimizer's usual settings, or "
            "torch.optim.AdamW(parameters, lr=1e-3).",
        ),
        check="optimizer settings",
    )


def of_plain_loss(own: Course, guess: float, end: float) -> Finding:
    """Return the finding on a loss that keeps a classifier from learning what the plain one teaches it."""
    shown = (
        f"the cross-entropy of outputs and labels ends at {own.end:.3g} (a guess has {guess:.3g}), and at {end:.3g} if "
        "it is minimized itself"
    )
    if own.end > _MUCH_WORSE * max(guess, own.start):
        return replace(
            attention(
                "the loss that is minimized rewards wrong answers: its sign is wrong, or it gets the wrong labels or "
                "outputs",
                f"{shown}; it began at {own.start:.3g}",
                "Compare your loss with F.cross_entropy(output, labels) on one batch: a likelihood, a score or a "
                "reward is minimized with a minus sign.",
            ),
            check="loss",
        )
    return replace(
        attention(
            "the loss that is minimized does not teach the model its labels, and the plain cross-entropy of the same "
            "outputs and labels does: the fault is in how the loss is computed, or in what it gets",
            shown,
            "Compare your loss with F.cross_entropy(output, labels) on one batch: the labels and outputs that it gets "
            "(order, shift, detached, activated twice), and its other terms and weights.",
        ),
        check="loss",
    )

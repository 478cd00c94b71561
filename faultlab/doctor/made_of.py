"""Losses whose parts defeat them: constant terms, weights below 0, targets and numbers out of range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

PARTS = Checks()
check = PARTS.check
# How many spreads, and how many times the first predictions, a target's mean has to be away to hinder the training.
_FAR = 5
_LARGE = 20
_RAW = 50


@check("loss terms", "Wuziyi616/multi_part_assembly#4")
def constant(seen: Seen) -> Iterator[Finding]:
    """Find a term of the loss that changes from step to step and that no gradient leads to."""
    for place, values in _of(seen, "constants").items():
        if place and len(set(values)) > 1:
            yield attention(
                f"a term that is added to the loss in line {_line(place)} has no graph: it is a plain number for "
                "autograd, and nothing is learned from it",
                f"{place}; its values: {', '.join(f'{value:.4g}' for value in values[:3])}",
                "Compute it from the predictions with torch operations: without torch.tensor(...), .item(), .detach() "
                "or numpy in between, which cut it from the graph.",
            )


@check("weights of the loss", "tung-nd/stormer#4")
def negative(seen: Seen) -> Iterator[Finding]:
    """Find errors that are multiplied by negative weights."""
    for place, share in _of(seen, "negative").items():
        yield wrong(
            f"line {_line(place)} multiplies errors, which are at least 0, by weights, and {100 * share:.0f} % of them "
            "are negative: those errors are rewarded, and the loss can fall without bound",
            place,
            "Make the weights non-negative: check what they are computed from (such as cos of degrees, not radians).",
        )


@check("weights of the loss", "paninski-lab/lightning-pose#375")
def twice(seen: Seen) -> Iterator[Finding]:
    """Find a constant that a term of the loss is multiplied with twice."""
    for constant in sorted({one for graph in seen.get("graph", ()) if graph for one in graph.get("twice", ())})[:2]:
        yield attention(
            f"a term of the loss is multiplied by {constant:.6g} twice, so that it counts with the square of this "
            f"weight, {constant * constant:.3g}",
            "the graph of the loss, through its sums and products",
            "Multiply by the weight once: either where the term is computed or where the terms are added up.",
        )


@check("scale of targets", "sktime/pytorch-forecasting#2360")
def targets(seen: Seen) -> Iterator[Finding]:
    """Find targets whose mean is far from 0 in their own spread, and from what a new network returns."""
    found = _of(seen, "scales")
    if not found:
        return
    mean, spread, told = found["mean"], found["spread"], found["told"]
    far = abs(mean) > _FAR * max(spread, 1e-6) and abs(mean) > _LARGE * max(told, 0.5)
    if far or (spread > _RAW and spread > _LARGE * max(told, 0.5)):
        yield attention(
            f"the targets are not normalized: their mean is {mean:.4g} and their spread {spread:.4g}, while "
            f"the network starts with predictions of about {told:.2g}; most of the training is spent on reaching them",
            f"{found['loss']} in the first step",
            "Normalize the targets as the inputs are, (target - mean) / std with statistics of the training data, and "
            "undo it for predictions.",
        )


@check("range of predictions")
def bounded(seen: Seen) -> Iterator[Finding]:
    """Find predictions that an activation keeps from reaching the targets, and targets that are not probabilities."""
    if found := _of(seen, "bounded"):
        scaled = found["least"] >= 0 and found["by"] in ("sigmoid", "softmax")
        yield wrong(
            f"the predictions end in a {found['by']}, and {100 * found['share']:.0f} % of the targets are out of its "
            f"range, up to {found['most']:g}: the network can't reach them",
            "the first comparison of the first step",
            f"Scale the targets to 0 to 1, such as target / {found['most']:g}, or remove the {found['by']} after the "
            "last layer."
            if scaled
            else f"Remove the {found['by']} after the last layer, or scale the targets into its range.",
        )
    if found := _of(seen, "probabilities"):
        yield wrong(
            f"{found['loss']} gets targets from {found['least']:g} to {found['most']:g}, and takes probabilities from "
            "0 to 1: the loss can fall without bound",
            found["loss"],
            "Map the targets to 0 and 1, such as (mask > 0).float() or mask / 255.",
        )


@check("scale of inputs")
def inputs(seen: Seen) -> Iterator[Finding]:
    """Find float inputs in raw units, such as pixels up to 255."""
    found = _of(seen, "inputs")
    if found and found["most"] > _RAW and (abs(found["mean"]) > _RAW / 2 or found["spread"] > _RAW / 2):
        yield attention(
            f"the inputs are not normalized: their mean is {found['mean']:.4g}, their spread {found['spread']:.4g}, up "
            f"to {found['most']:.4g}",
            "the first tensor of the first batch",
            "Scale them to about -1 to 1: divide pixels by 255, or standardize with the training data's mean and std.",
        )


@check("range of half precision", "sktime/pytorch-forecasting#285")
def beyond(seen: Seen) -> Iterator[Finding]:
    """Find numbers that float16 can't hold, in a training that asks for it."""
    asked_for = (seen.get("terms") or {}).get("asked")
    for place, value in _of(seen, "beyond").items():
        yield wrong(
            f"line {_line(place)} uses {value:g}, which is beyond the range of float16 (precision={asked_for!r}): the "
            "number overflows there (the doctor ran it in float32)",
            place,
            'Use float("-inf"), torch.finfo(scores.dtype).min or -1e4 for masks; or precision="bf16-mixed".',
        )


def _of(seen: Seen, kind: str) -> dict[str, Any]:
    return dict((seen.get("terms") or {}).get(kind, {}))


def _line(place: str) -> str:
    return place.rpartition(":")[2]


@check("padding", "Lightning-Universe/lightning-transformers#266")
def padding(seen: Seen) -> Iterator[Finding]:
    """Find target tokens that only fill sentences up, and that the loss counts as words."""
    found = _of(seen, "padding")
    if found and found["share"] > 0.1:
        yield attention(
            f"{100 * found['share']:.0f} % of the target tokens are padding ({found['pad']}, the padding_idx of the "
            "embedding), and the loss counts them: the network mostly learns to predict padding",
            "the first call of cross_entropy",
            f"Write ignore_index={found['pad']} in cross_entropy.",
        )

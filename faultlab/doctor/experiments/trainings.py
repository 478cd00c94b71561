"""The experiments, and the findings that their trainings give. The driver's side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.doctor.experiments.course import LEARNT, Case, Course
from faultlab.doctor.experiments.wording import (
    ALWAYS,
    EVALUATED,
    LATE,
    NAMES,
    PARTS,
    WITH,
    ends,
    of_part,
    of_plain_loss,
    of_rate,
    of_settings,
)
from faultlab.doctor.finding import Finding, attention, wrong

_RATES = (0.1, 0.01, 0.001, 10.0, 100.0, 10_000.0, 1_000_000.0)
_FASTEST = 1.0
"""The largest rate to try, beyond the training's own."""
_BETTER = 0.8
_REGULARIZERS = ("dropout", "decay")
"""Parts that keep a healthy training's own loss up, so that it has to fall far without them."""
_OVERSHOT, _POOR, _MUCH_BETTER = 3.0, 0.3, 0.5
_NEAR, _FAR_BELOW, _AS_LONG = 1.25, 0.4, 0.9
_LARGE, _SMALL, _OFF = 10.0, 0.05, 5.0
_APART, _CLOSER = 2.0, 0.5
_LEAST, _SETTLED, _UNLEARNT = 10, 30, 0.8
_PLAIN = (1e-3, 1e-2)
_CUT_AWAY = 100.0
"""A rate that is this many times too low leaves no doubt in a training whose beginning alone is judged."""

Changes = dict[str, Any]
Train = Callable[[Sequence[Changes]], Sequence[Course | None]]


def examined(case: Case, train: Train) -> Iterator[Finding]:
    """Yield what experiments show of a training that goes on to its end and is not explained otherwise."""
    if len(case.course.losses) < _LEAST:
        return
    if found := _by_plain_loss(case, train):
        yield found
    elif not case.learns:
        yield from _cures(case, train)
    else:
        if case.overshoots:
            yield from _by_rate(case, train)
        yield from _of_evaluation(case, train)
        if case.course.end > _POOR * case.limit:
            yield from _hindrances(case, train)


def _by_plain_loss(case: Case, train: Train) -> Finding | None:
    """Find a loss that keeps a classifier from learning its labels, which it learns with a plain one."""
    own, guess = case.course.plainly, case.plain_guess
    if not guess or len(own.losses) < _AS_LONG * len(case.course.losses) or own.end < _UNLEARNT * guess:
        return None
    for _, course in _tried(case, [{"plain loss": True}], train):
        end = course.plainly.end
        if end < _MUCH_BETTER * min(guess, own.end):
            return of_plain_loss(own, guess, end)
    return None


def _cures(case: Case, train: Train) -> Iterator[Finding]:
    """Train what learns nothing with one part changed at a time."""
    parts: list[Changes] = [{name: True} for name in PARTS if _applies(name, case)]
    rates: list[Changes] = [{"rate": one} for one in _RATES if one < 1 or case.rate * one <= _FASTEST]
    plain: list[Changes] = [{"adamw": one} for one in _PLAIN]
    wanted = rates if case.several else [*parts, *rates, *plain]
    tried = _tried(case, wanted, train)
    cured = [(change, course) for change, course in tried
             if course.end < _least_gain(change) * case.course.end and course.end < LEARNT * case.limit
             and not _too_early(case, change)]  # fmt: skip
    best = min((course.end for _, course in cured), default=math.inf)
    near = [(change, course.end) for change, course in cured if course.end <= _NEAR * best]
    if near:
        yield from _told(case, near)
        return
    yield from _stuck(case, tried, train)


def _least_gain(change: Changes) -> float:
    return _FAR_BELOW if next(iter(change)) in _REGULARIZERS else _BETTER


def _told(case: Case, near: Sequence[tuple[Changes, float]]) -> Iterator[Finding]:
    """Yield the cause that the best experiments show: a part, else the rate, else the optimizer's other settings."""
    by_part = [(next(iter(change)), end) for change, end in near if next(iter(change)) in PARTS]
    by_rate = [(change["rate"], end) for change, end in near if "rate" in change]
    by_optimizer = [end for change, end in near if "adamw" in change]
    unusual = [one for settings in case.settings.values() for one in settings]
    first = [one for one in by_part if one[0] not in LATE]
    if first:
        yield of_part(case, *first[0], wrong)
    elif by_optimizer and unusual:
        yield of_settings(case, min(by_optimizer))
    elif by_rate:
        factor, end = min(by_rate, key=lambda one: abs(math.log(one[0])))
        yield of_rate(case, factor, end)
    elif by_optimizer:
        yield of_settings(case, min(by_optimizer))
    else:
        yield of_part(case, *by_part[0], attention)


def _by_rate(case: Case, train: Train) -> Iterator[Finding]:
    tried = _tried(case, [{"rate": one} for one in _RATES if one < 1], train)
    better = [(change, course.end) for change, course in tried
              if course.end < _MUCH_BETTER * case.course.end and course.end < LEARNT * case.limit]  # fmt: skip
    best = min((end for _, end in better), default=math.inf)
    near = [(change["rate"], end) for change, end in better if end <= _NEAR * best]
    if near:
        factor, end = min(near, key=lambda one: abs(math.log(one[0])))
        yield of_rate(case, factor, end)


def _hindrances(case: Case, train: Train) -> Iterator[Finding]:
    """Find a part without which a training that learns little learns far more."""
    far_off = case.guess is not None and case.course.start > _OVERSHOT * case.guess
    used = {*case.present, *(("initial",) if far_off else ())}
    wanted: list[Changes] = [{name: True} for name in PARTS if _applies(name, case) and name in used]
    better = []
    for change, course in _tried(case, wanted, train):
        regularizes = next(iter(change)) in _REGULARIZERS
        pairs = [(course.evaluation[name], value) for name, value in case.course.evaluation.items()
                 if name in course.evaluation]  # fmt: skip
        # Without them, the training's own loss always falls further.
        useful = all(mine < _MUCH_BETTER * own for mine, own in pairs) if regularizes and pairs else not regularizes
        if useful and course.end < _FAR_BELOW * case.course.end:
            better.append((next(iter(change)), course.end))
    for name, end in sorted(better, key=lambda one: one[1])[:1]:
        yield of_part(case, name, end, attention)


def _of_evaluation(case: Case, train: Train) -> Iterator[Finding]:
    """Find what keeps an evaluation far behind its training."""
    own = {
        name: value for name, value in case.course.evaluation.items() if value > _APART * case.compared_with(name) > 0
    }
    if not own:
        return
    if len(case.course.losses) < _SETTLED:
        return
    wanted: list[Changes] = [*({name: True} for name in EVALUATED), {"training data": True}]
    for change, course in _tried(case, wanted, train):
        name = next(iter(change))
        pairs = [(course.evaluation[one], value) for one, value in own.items() if one in course.evaluation]
        if not pairs:
            continue
        first, (mine, value) = next(iter(own)), pairs[0]
        shown = f"the training's own loss ends at {case.compared_with(first):.3g}, {first} at {value:.3g}"
        if name == "training data":
            if mine > _APART * case.compared_with(first):
                yield replace(
                    attention(
                        "the evaluation computes something else than the training: its loss is far larger even on the "
                        "training's own batches",
                        f"{shown}, and at {mine:.3g} on batches of the training",
                        "Compare both steps for one batch: the mode, the preprocessing of inputs and targets, which "
                        "model and weights are used, and how the loss is computed and averaged.",
                    ),
                    check="evaluation",
                )
        elif all(mine < _CLOSER * value for mine, value in pairs):
            cause, remedy = EVALUATED[name]
            yield replace(wrong(cause, f"{shown}, and at {mine:.3g} {WITH[name]}", remedy), check="evaluation")
            return


def _stuck(case: Case, tried: Sequence[tuple[Changes, Course]], train: Train) -> Iterator[Finding]:
    """Report what was tried without success, and whether the model can learn one batch at all."""
    if not tried or case.cut or case.several:
        return
    one = [course for _, course in _tried(case, [{"one batch": True, "adamw": rate} for rate in _PLAIN], train)]
    end = min((course.end for course in one), default=math.inf)
    names = ", ".join(dict.fromkeys(NAMES[next(iter(change))] for change, _ in tried))
    shown = f"{ends(case)}; without success: {names}"
    if not math.isfinite(end):
        return
    if end < 0.5 * case.limit:
        yield replace(
            attention(
                "the model learns nothing from the data, but it can learn one batch by heart: its inputs do not "
                "determine the targets, or the model does not use the part of them that does",
                f"{shown}; the first batch again and again brings the loss to {end:.3g}",
                "Print a few inputs beside their targets as the model gets them, and check that they belong together; "
                "then check that the output changes with each part of the input: masks, positions and pooling.",
            ),
            check="experiments",
        )
    elif end > LEARNT * min(case.limit, one[0].start):
        yield replace(
            attention(
                "the model can't even learn one batch, whatever the optimizer: the fault is between the batch and the "
                "loss, in forward or in how the loss is computed",
                f"{shown}; the first batch again and again leaves the loss at {end:.3g}",
                "Check the output for one batch: whether it changes with the input, and whether the loss gets output "
                "and target in the order and shape that it expects.",
            ),
            check="experiments",
        )


def _tried(case: Case, wanted: Sequence[Changes], train: Train) -> list[tuple[Changes, Course]]:
    """Return the courses of the changes that made a difference and trained as long as the training itself."""
    whole = _AS_LONG * len(case.course.losses)
    return [
        (change, course)
        for change, course in zip(wanted, train(wanted) if wanted else (), strict=True)
        if course is not None and len(course.losses) >= whole and all(course.acted.get(name) for name in change)
    ]


def _too_early(case: Case, change: Changes) -> bool:
    """Return whether a change says nothing about a training that was ended early."""
    rate = change.get("rate", 0.0)
    return case.cut and (1 < rate < _CUT_AWAY or "adamw" in change or "schedule" in change)


def _applies(name: str, case: Case) -> bool:
    if name == "standardized":
        return _is_off(case.inputs)
    if name == "initial":
        return not case.loaded
    if name == "schedule" and case.cut:
        return False
    return name in case.present or name in ALWAYS


def _is_off(inputs: Mapping[str, Any]) -> bool:
    if not inputs or not inputs["floating"] or not inputs["finite"] or inputs["constant"]:
        return False
    deviation = inputs["deviation"]
    return bool(deviation > _LARGE or deviation < _SMALL or abs(inputs["mean"]) > _OFF * deviation)

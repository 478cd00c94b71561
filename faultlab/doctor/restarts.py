"""A learning rate that takes the same course in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from faultlab.doctor.finding import Finding, attention, wrong

_LEAST_PASSES, _LEAST_STEPS, _LOW = 3, 3, 0.5
# These begin again on purpose.
CYCLES = ("CosineAnnealingWarmRestarts", "CyclicLR")


def found(
    rates: Sequence[tuple[int, float]], steps: int, passes: int, asked: float, schedulers: Sequence[str]
) -> Iterator[Finding]:
    """Yield the finding on a rate that changes within each epoch and begins again with the next one.

    Args:
        rates: The step of each change, from 0, and the new rate.
        steps: The number of all steps.
        passes: The number of epochs, of equal length.
        asked: The rate that the optimizer was made with.
        schedulers: Class names of the schedules.
    """
    if passes < _LEAST_PASSES or steps % passes or steps // passes < _LEAST_STEPS or set(schedulers) & set(CYCLES):
        return
    each, changes = steps // passes, dict(rates)
    course, now = [], rates[0][1] if rates else 0.0
    for step in range(steps):
        now = changes.get(step, now)
        course.append(now)
    first = course[:each]
    if len(set(first)) < 2 or any(course[begin : begin + each] != first for begin in range(0, steps, each)):
        return
    low = max(first) < _LOW * asked
    say = wrong if low else attention
    never = f": it never rises above {max(first):.3g}, of the {asked:.3g} that the optimizer was made with" * low
    yield say(
        f"the learning rate begins again with each epoch, from {first[0]:.3g} to {first[-1]:.3g} in its {each} steps"
        f"{never}",
        f"the same course in all {passes} epochs",
        "Count the steps of the whole training, epoch * len(loader) + batch, or make the schedule once, before the "
        "epochs.",
    )

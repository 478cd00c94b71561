"""The finding on losses that are not finite, the same for every framework."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from faultlab.doctor.finding import Finding, fine, wrong


def judged(losses: Sequence[float | None]) -> Iterator[Finding]:
    """Find NaN or infinity in the losses of a clean run, one a step; None is one that JSON can't hold."""
    values = [math.nan if value is None else value for value in losses]
    bad = [step for step, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        yield wrong(
            f"the loss is not finite in {len(bad)} of {len(values)} steps",
            f"first in step {bad[0]}",
            "Check the data and the learning rate; faultlab.guards.LossContract raises at the first such step.",
        )
    elif values:
        yield fine(f"the loss is finite: {values[0]:.4g} in the first step, {values[-1]:.4g} in the last")

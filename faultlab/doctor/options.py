"""Options that are set and change nothing: compares the trainings with and without each of them, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from faultlab.campaign.clean_runs import order
from faultlab.core.orders import Train
from faultlab.core.trajectory import Trajectory
from faultlab.doctor.finding import Finding, Seen, attention
from faultlab.engines import Engine

# Options that should change the result: how their defaults are written, and the remedy if nothing changes.
_OPTIONS = {
    "precision": (
        ("32-true", "32", 32),
        "Check whether the step leaves autocast, or converts the weights or the batch itself.",
    ),
    "gradient_clip_val": ((None,), "Choose a value by the gradients' norms: none of this run was larger."),
    "accumulate_grad_batches": (
        (1,),
        "Check whether optimizer_step or manual optimization still steps at every batch.",
    ),
}


def without_effect(engine: Engine, seen: Seen, trajectory: Trajectory, timeout: float, seed: int) -> Iterator[Finding]:
    """Find options that are set but make no difference to a deterministic training."""
    given = seen.get("arguments", {})
    set_ones = {name: given[name] for name, (usual, _) in _OPTIONS.items() if given.get(name) not in (None, *usual)}
    for name, value in set_ones.items():
        usual, remedy = _OPTIONS[name]
        variation = {"trainer": {name: usual[0]}}
        task = Train(seed, compiles=True, variation=variation)
        (outcome,) = engine.run([order(engine, f"without-{name}", task, deadline=timeout, ranks=1)])
        other = outcome.trajectory
        if other is not None and replace(other, final={}).same_as(replace(trajectory, final={})):
            yield replace(
                attention(
                    f"{name}={value} changes nothing: the training without it is bit-identical",
                    f"{trajectory.steps} steps compared",
                    remedy,
                ),
                check="options without effect",
            )

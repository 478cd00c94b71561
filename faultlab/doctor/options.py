"""Options that are set and change nothing: the training with and without each, compared to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from faultlab.campaign.clean_runs import order
from faultlab.core.orders import Train
from faultlab.core.trajectory import Trajectory
from faultlab.doctor.finding import Finding, Seen, attention
from faultlab.engines import Engine

# Those that are set to change what is learnt: the ways to write their defaults, and what to look at where they don't.
_OPTIONS = {
    "precision": (
        ("32-true", "32", 32),
        "Look whether the step leaves autocast, or converts the weights or the batch itself.",
    ),
    "gradient_clip_val": ((None,), "No gradient of this run was larger. Look at their norms, and choose it by them."),
    "accumulate_grad_batches": (
        (1,),
        "Look whether optimizer_step or manual optimization steps at every batch all the same.",
    ),
}


def without_effect(engine: Engine, seen: Seen, trajectory: Trajectory, timeout: float, seed: int) -> Iterator[Finding]:
    """Says which of the options that are set make no difference to a deterministic training."""
    given = seen.get("arguments", {})
    set_ones = {name: given[name] for name, (usual, _) in _OPTIONS.items() if given.get(name) not in (None, *usual)}
    for name, value in set_ones.items():
        usual, remedy = _OPTIONS[name]
        variation = {"trainer": {name: usual[0]}}
        task = Train(seed, compiles=True, variation=variation)
        (outcome,) = engine.run([order(engine, f"without-{name}", task, deadline=timeout)])
        other = outcome.trajectory
        if other is not None and replace(other, final={}).same_as(replace(trajectory, final={})):
            yield replace(
                attention(
                    f"{name}={value} changes nothing: the training without it is the same to the bit",
                    f"{trajectory.steps} steps compared",
                    remedy,
                ),
                check="options have an effect",
            )

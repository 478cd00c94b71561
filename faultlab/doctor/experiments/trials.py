"""Orders of trainings with changes, and what comes back of them. The driver's side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from faultlab.campaign.clean_runs import order
from faultlab.core.orders import Examine
from faultlab.core.orders import Train as Training
from faultlab.core.results import ExaminedRun
from faultlab.doctor.experiments import KEY
from faultlab.doctor.experiments.course import Course
from faultlab.doctor.experiments.trainings import Changes, Train
from faultlab.doctor.finding import Seen
from faultlab.engines import Engine


def train(engine: Engine, by: str, timeout: float, seed: int, steps: int, course: Callable[[Seen], Course]) -> Train:
    """Return a function that trains once with each of some changes.

    Args:
        engine: Executes the trainings.
        by: The function that executes one in the victim, as ``module:function``.
        timeout: Deadline of a training, s.
        seed: The seed of all of them.
        steps: How many steps of each are executed.
        course: Reads what was seen of one.
    """
    numbers = count()

    def trained(wanted: Sequence[Changes]) -> list[Course | None]:
        tasks = [Examine(by, Training(seed, variation={KEY: one}), steps) for one in wanted]
        orders = [order(engine, f"trial-{next(numbers)}", task, deadline=timeout, ranks=1) for task in tasks]
        ended = {outcome.id: outcome.result for outcome in engine.run(orders)}
        results = [ended.get(one.id) for one in orders]
        return [course(one.seen) if isinstance(one, ExaminedRun) else None for one in results]

    return trained

"""The fork engine when a process that it depends on is gone, and when runs do nothing but wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

import pytest

from faultlab.core.orders import Order, Train
from faultlab.engines.fork import ForkEngine
from tests.lab import Lab, trained


@pytest.fixture
def engine() -> Iterator[ForkEngine]:
    engine = ForkEngine(jobs=1)
    yield engine
    engine.close()


def test_the_process_that_follows_a_killed_one_has_imported_what_that_one_had(engine: ForkEngine) -> None:
    """Else the runs after it pay for the imports within their deadlines."""
    lab = Lab(engine, "tests.zoo.models.classifier")
    assert lab.told.imported
    probed = lab.order("probed", Train(0, probe=True))
    (before,) = engine.run([probed])
    link = engine._link("construct")
    assert link is not None
    os.kill(link.pid, signal.SIGKILL)
    while engine._link("construct") is link:
        engine._listen()
    (after,) = engine.run([probed])
    told = [trained(outcome).circumstances for outcome in (before, after)]
    assert [found and found.imported for found in told] == [[], []]


def test_runs_that_wait_already_leave_room_for_others_that_will(
    engine: ForkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one job, two are on the way to where they hang."""
    lab = Lab(engine, "tests.zoo.models.classifier")
    admission, together = engine._admission, [0]

    def free(jobs: int, ranks: int, given: Sequence[Order]) -> dict[bool, int]:
        together.append(sum(order.sleeps for order in given))
        return type(admission).free(admission, jobs, ranks, given)

    monkeypatch.setattr(admission, "free", free)
    outcomes = lab.run([f"process.hangs@step={step}" for step in (1, 2, 3)])
    assert [(outcome.timed_out, outcome.acting) for outcome in outcomes.values()] == [(True, 1), (True, 2), (True, 3)]
    assert max(together) == 3

"""The fork engine when a process that it depends on is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from faultlab.core.orders import Train
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

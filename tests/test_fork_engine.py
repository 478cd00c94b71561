"""The fork engine when a process that it depends on is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from faultlab.engines.fork import ForkEngine
from tests.lab import Lab


@pytest.fixture
def engine() -> Iterator[ForkEngine]:
    engine = ForkEngine(jobs=1)
    yield engine
    engine.close()


def test_the_process_that_follows_a_killed_one_has_imported_what_that_one_had(engine: ForkEngine) -> None:
    """Else the runs after it pay for the imports within their deadlines."""
    lab = Lab(engine, "tests.zoo.models.classifier")
    assert lab.clean["imported"]
    probed = replace(lab._order("probed"), probe=True)
    (before,) = engine.run([probed])
    link = engine._link("construct")
    assert link is not None
    os.kill(link.pid, signal.SIGKILL)
    while engine._link("construct") is link:
        engine._listen()
    (after,) = engine.run([probed])
    assert before.result is not None
    assert after.result is not None
    assert (before.result["imported"], after.result["imported"]) == ([], [])

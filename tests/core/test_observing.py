"""Observers of a training are known by what they register, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

from faultlab.core.observing import Observers


def test_work_is_going_on_if_any_observer_says_so() -> None:
    observers, working = Observers(), [False, False]
    assert not observers.at_work()
    for place in range(2):
        observers.register(lambda place=place: working[place])  # type: ignore[misc]
    assert not observers.at_work()
    working[1] = True
    assert observers.at_work()


def test_a_clock_knows_that_a_guard_runs_a_copy_and_no_guard_is_imported_for_that() -> None:
    code = """
import sys
from faultlab.frameworks import registry
clock = registry.named("torch").clock()
assert not clock.tried
assert "faultlab.guards" not in sys.modules
from faultlab.guards.support import trials
trials._trying = True
assert clock.tried
"""
    subprocess.run([sys.executable, "-c", code], check=True)

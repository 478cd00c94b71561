"""Fixtures for all tests of guards."""

from __future__ import annotations

import pytest
import torch

from faultlab.guards import Guard

# With many small trainings in one process, threads that wait for each other would take most of the time.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise a guard's own errors, since a guard that fails would pass for a quiet one."""
    monkeypatch.setattr(Guard, "own_errors", "raise")

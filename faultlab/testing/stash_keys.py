"""The keys under which the plugin and the runners store objects in pytest's stash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from faultlab.core.fault import Fault
    from faultlab.core.kill_matrix import Matrix
    from faultlab.core.report import Report
    from faultlab.core.results import Outcome
    from faultlab.injection.mutant_activation import Executions
    from faultlab.testing.suite import Suite

RESULT: pytest.StashKey[tuple[Matrix, Report | None, list[str]]] = pytest.StashKey()
ALONE: pytest.StashKey[tuple[Suite, Fault, Outcome]] = pytest.StashKey()
PROCESSES: pytest.StashKey[int] = pytest.StashKey()
EXECUTIONS: pytest.StashKey[Executions] = pytest.StashKey()

"""Preparation of a process for the victims of a scenario: threads, paths, mutants, and the import of user code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from faultlab.frameworks import registry
from faultlab.frameworks.base import Target
from faultlab.frameworks.torch import anomaly_stacks, threads
from faultlab.injection import mutant_activation
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay


def import_target(scenario: Mapping[str, Any], root: str, switch: str = mutant_activation.STATS) -> Target:
    """Make this process one of the scenario's, and import the target.

    New files are allowed, for example if its code downloads data; changes to the user's files are diverted.

    Args:
        scenario: The scenario as victims receive it.
        root: The folder for diverted changes; created if needed.
        switch: The source mutant to import the code with, if it has mutants.

    Raises:
        TargetError: The scenario names something that can't be imported.
    """
    sys.path[:0] = scenario["path"]
    # User code that parses arguments on import must not see ours.
    del sys.argv[1:]
    threads.use_one()
    anomaly_stacks.format_late()
    executions = mutant_activation.begin(scenario.get("mutated"), switch)
    with apart(root, scenario["path"]):
        target = registry.of(scenario).target(scenario)
    target.executions = executions
    return target


@contextmanager
def apart(root: str, folders: Iterable[str] = ()) -> Iterator[Overlay]:
    """Prevent changes to the user's files below the working folder and the given folders."""
    with file_calls.redirected(root, [os.getcwd(), *folders]) as overlay, overlay.preparing():
        yield overlay

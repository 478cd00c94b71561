"""How a process becomes one that runs victims of a scenario: threads, paths, mutants, and the user's code imported."""

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

    New files are let through, as where its code fetches data; what it writes over files of the user's is kept from
    these.

    Args:
        scenario: as victims are given it.
        root: a folder for what is written over files of the user's; it is made where it is needed.
        switch: the source mutant to import the code with, where there are any in it.

    Raises:
        TargetError: The scenario names something that can't be imported.
    """
    sys.path[:0] = scenario["path"]
    # User code that parses arguments when it is imported must not find ours.
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
    """Have the process change no file of the user's below its working folder and the folders given."""
    with file_calls.redirected(root, [os.getcwd(), *folders]) as overlay, overlay.preparing():
        yield overlay

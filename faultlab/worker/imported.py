"""The user's code, imported where runs are forked off: what it writes meanwhile is kept from the user's own files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from faultlab.frameworks import registry
from faultlab.frameworks.base import Target
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay


def import_target(scenario: Mapping[str, Any], root: str) -> Target:
    """Import a scenario's target; new files are let through, as where its code fetches data.

    Args:
        scenario: as victims are given it.
        root: a folder for what is written over files of the user's; it is made where it is needed.

    Raises:
        TargetError: The scenario names something that can't be imported.
    """
    with apart(root, scenario.get("path", ())):
        return registry.of(scenario).target(scenario)


@contextmanager
def apart(root: str, folders: Iterable[str] = ()) -> Iterator[Overlay]:
    """Have the process change no file of the user's below its working folder and the folders given."""
    with file_calls.redirected(root, [os.getcwd(), *folders]) as overlay, overlay.preparing():
        yield overlay

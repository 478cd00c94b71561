"""What mutated files import in place of mutmut's trampoline: it readies a process that nobody else has readied.

A worker of a loader that is spawned and not forked is one, or a script that a test starts.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from typing import Any

from mutmut.mutation import trampoline

from faultlab.injection import mutant_activation


def __getattr__(name: str) -> Any:
    """What mutmut's module has under this name when a mutated file asks."""
    mutant_activation.ready()
    return getattr(trampoline, name)

"""A stand-in for mutmut's trampoline module, which mutated files import: it prepares an unprepared process.

Such a process is a loader worker that is spawned instead of forked, or a script that a test starts.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from typing import Any

from mutmut.mutation import trampoline

from faultlab.injection import mutant_activation


def __getattr__(name: str) -> Any:
    """Return the attribute of mutmut's module that a mutated file asks for."""
    mutant_activation.ready()
    return getattr(trampoline, name)

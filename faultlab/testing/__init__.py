"""Faults in modules that the user's own code builds and trains, in tests and in plain code, and assertions for tests.

It imports Lightning only through `faultlab.frameworks`, and neither the command line nor the pytest plugin. No name
imports torch before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "assert_accumulation_equivalent": "faultlab.testing.equivalence",
    "assert_compiled_equivalent": "faultlab.testing.equivalence",
    "assert_detected": "faultlab.testing.detecting",
    "assert_double_precision_equivalent": "faultlab.testing.equivalence",
    "assert_resume_equivalent": "faultlab.testing.resuming",
    "inject": "faultlab.testing.injecting",
}

if TYPE_CHECKING:
    from faultlab.testing.detecting import assert_detected
    from faultlab.testing.equivalence import (
        assert_accumulation_equivalent,
        assert_compiled_equivalent,
        assert_double_precision_equivalent,
    )
    from faultlab.testing.injecting import inject
    from faultlab.testing.resuming import assert_resume_equivalent

__all__ = [
    "assert_accumulation_equivalent",
    "assert_compiled_equivalent",
    "assert_detected",
    "assert_double_precision_equivalent",
    "assert_resume_equivalent",
    "inject",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'faultlab.testing' has no attribute {name!r}")

"""faultlab breaks a working LightningModule, one failure mode at a time, and reports who detected each fault.

The public API is small: ``run`` runs a scenario, or a module and data, and returns a ``Report``; ``guards`` are
callbacks that detect failures; ``failure_mode`` declares a failure mode; ``inject`` and ``assert_detected`` are for
tests; ``Fault`` is a fault and its text form. No name imports torch before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Fault": "faultlab.core.fault",
    "Trigger": "faultlab.core.fault",
    "Dose": "faultlab.catalogue.failure_mode",
    "FailureMode": "faultlab.catalogue.failure_mode",
    "failure_mode": "faultlab.injection.registry",
    "Report": "faultlab.core.report",
    "Status": "faultlab.core.report",
    "Scenario": "faultlab.config.scenario",
    "run": "faultlab.api",
    "inject": "faultlab.testing.injecting",
    "assert_detected": "faultlab.testing.detecting",
    "__version__": "faultlab.core.version",
}

if TYPE_CHECKING:
    from faultlab import guards
    from faultlab.api import run
    from faultlab.catalogue.failure_mode import Dose, FailureMode
    from faultlab.config.scenario import Scenario
    from faultlab.core.fault import Fault, Trigger
    from faultlab.core.report import Report, Status
    from faultlab.core.version import __version__ as __version__
    from faultlab.injection.registry import failure_mode
    from faultlab.testing.detecting import assert_detected
    from faultlab.testing.injecting import inject

__all__ = [
    "Dose",
    "FailureMode",
    "Fault",
    "Report",
    "Scenario",
    "Status",
    "Trigger",
    "assert_detected",
    "failure_mode",
    "guards",
    "inject",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "guards":
        return import_module("faultlab.guards")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'faultlab' has no attribute {name!r}")

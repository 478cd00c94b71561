"""The clean run's reports, passed to pytest's plugins as if the tests had run in this process."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def warning_to_json(warning: Any, test: str, location: Any) -> dict[str, Any]:
    """Return a test's warning as a note of a copy."""
    return {
        "test": test,
        "text": str(warning.message),
        "category": [warning.category.__module__, warning.category.__qualname__],
        "file": warning.filename,
        "line": warning.lineno,
        "location": location,
    }


def replay(session: pytest.Session, notes: Iterable[Mapping[str, Any]]) -> None:
    """Pass the reports and warnings among the notes to every plugin; raise what pytest's own loop raises."""
    hook, config = session.config.hook, session.config
    seen: set[str] = set()
    for note in notes:
        if "warning" in note:
            _warn(hook, note["warning"])
        if "report" not in note:
            continue
        report = hook.pytest_report_from_serializable(config=config, data=note["report"])
        if report.nodeid not in seen:
            seen.add(report.nodeid)
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


def _warn(hook: Any, told: Mapping[str, Any]) -> None:
    module, name = told["category"]
    category = getattr(sys.modules.get(module), name, None)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = Warning
    # Its text instead of the object, whose class may need more than a text.
    message = warnings.WarningMessage(told["text"], category, told["file"], told["line"])
    location = tuple(told["location"]) if told["location"] else None
    details = {"warning_message": message, "nodeid": told["test"], "when": "runtest", "location": location}
    hook.pytest_warning_recorded.call_historic(kwargs=details)

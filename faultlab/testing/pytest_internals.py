"""Access to pytest's private names, which no other module uses."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PACKAGE = "_pytest"
"""The package of the frames between a test's line and pytest's own loop."""


def definitions_of(item: pytest.Item) -> Mapping[str, Any]:
    """Return the definitions of each fixture that a test uses, by name; the overriding definition is last."""
    found: Mapping[str, Any] = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return found


def implied_fixtures(item: Any) -> list[str]:
    """Return the fixtures that a test uses without naming them among its arguments."""
    info = item._fixtureinfo
    return [name for name in info.initialnames if name not in info.argnames]


def item_of(request: Any) -> pytest.Item:
    """Return the test for which a fixture is set up."""
    item: pytest.Item = request._pyfuncitem
    return item


def set_up_ahead(session: pytest.Session, item: Any, name: str, keep: Callable[[Any], bool]) -> None:
    """Set up a session fixture while no test runs, and finish it if it raises or ``keep`` rejects its value."""
    fixturedef = definitions_of(item)[name][-1]
    state: Any = session._setupstate
    if session not in state.stack:
        state.stack[session] = ([session.teardown], None)
        session.setup()
    # Only a test that is being set up may request fixtures.
    state.stack[item] = ([], None)
    item._initrequest()
    try:
        value = item._request.getfixturevalue(name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        value = None
    finally:
        del state.stack[item]
    # pytest caches failures too.
    if fixturedef.cached_result is None or fixturedef.cached_result[2] is not None or not keep(value):
        fixturedef.finish(item._request)
    item._request = False
    item.funcargs = None


def stop_capturing(session: pytest.Session) -> None:
    """End the capture, whose files all copies of the process would share."""
    capture: Any = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None and capture._global_capturing is not None:
        capture.stop_global_capturing()


def capture_anew(session: pytest.Session) -> None:
    """Capture into this process's own files, if `stop_capturing` ended the capture."""
    capture: Any = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None and capture._global_capturing is None:
        capture.start_global_capturing()
        capture.suspend_global_capture()


def move_temporary_folders(session: pytest.Session, folder: Path) -> None:
    """Create a folder, and have ``tmp_path`` and similar fixtures create theirs in it."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None:
        folder.mkdir(parents=True, exist_ok=True)
        factory._basetemp = folder


def calls_a_fixture(frame: FrameType) -> bool:
    """Return whether pytest calls a fixture's function in this frame."""
    return frame.f_code.co_name == "call_fixture_func" and frame.f_globals.get("__name__") == f"{PACKAGE}.fixtures"


def junit_of(config: pytest.Config) -> Any:
    """Return the writer of pytest's junit file; None if the command line does not ask for one."""
    from _pytest.junitxml import xml_key

    return config.stash.get(xml_key, None)

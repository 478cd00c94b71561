"""What pytest has no public name for: the one place that reaches into its privates."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PACKAGE = "_pytest"
"""Whose frames stand between a test's line and pytest's own loop."""


def definitions_of(item: pytest.Item) -> Mapping[str, Any]:
    """The definitions of every fixture that a test comes to use, by its name; the one that overrides is last."""
    found: Mapping[str, Any] = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return found


def implied_fixtures(item: Any) -> list[str]:
    """The fixtures that a test uses without naming them among its arguments."""
    info = item._fixtureinfo
    return [name for name in info.initialnames if name not in info.argnames]


def item_of(request: Any) -> pytest.Item:
    """The test that a fixture is set up for."""
    item: pytest.Item = request._pyfuncitem
    return item


def set_up_ahead(session: pytest.Session, item: Any, name: str, keep: Callable[[Any], bool]) -> None:
    """Sets up a fixture of the session with no test being run, and finishes it unless it is one to ``keep``.

    ``keep`` is asked with the fixture's value; one that raises is finished.
    """
    fixturedef = definitions_of(item)[name][-1]
    state: Any = session._setupstate
    if session not in state.stack:
        state.stack[session] = ([session.teardown], None)
        session.setup()
    # A test that is not being set up may not ask for fixtures.
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
    # What failed is kept by pytest too.
    if fixturedef.cached_result is None or fixturedef.cached_result[2] is not None or not keep(value):
        fixturedef.finish(item._request)
    item._request = False
    item.funcargs = None


def stop_capturing(session: pytest.Session) -> None:
    """Ends the capture, whose files all copies of the process would share."""
    capture: Any = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None and capture._global_capturing is not None:
        capture.stop_global_capturing()


def capture_anew(session: pytest.Session) -> None:
    """Captures into files of this process's own, where the capture was ended by `stop_capturing`."""
    capture: Any = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None and capture._global_capturing is None:
        capture.start_global_capturing()
        capture.suspend_global_capture()


def move_temporary_folders(session: pytest.Session, folder: Path) -> None:
    """Has ``tmp_path`` and its like lie below a folder, which is made."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None:
        folder.mkdir(parents=True, exist_ok=True)
        factory._basetemp = folder


def calls_a_fixture(frame: FrameType) -> bool:
    """Whether the frame is the one in which pytest calls a fixture's function."""
    return frame.f_code.co_name == "call_fixture_func" and frame.f_globals.get("__name__") == f"{PACKAGE}.fixtures"


def junit_of(config: pytest.Config) -> Any:
    """What writes pytest's own junit file; None where none is asked for."""
    from _pytest.junitxml import xml_key

    return config.stash.get(xml_key, None)

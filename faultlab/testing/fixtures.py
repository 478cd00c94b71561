"""Fixtures of the whole session that no fault can reach: set up once, before the copies are made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from faultlab.testing.conducting import fixture_name
from faultlab.testing.knowledge import Knowledge, is_fixture

# What is quicker than this is set up in every copy, as it would be without faults.
_WORTH_SHARING = 0.05


def shareable(knowledge: Knowledge) -> list[str]:
    """The fixtures of the whole session in which no module is built or trained, and which take their time."""
    return [
        name
        for name, unit in knowledge.units.items()
        if is_fixture(name)
        and name.startswith("session ")
        and not unit.uses
        and not unit.touches
        and unit.seconds >= _WORTH_SHARING
    ]


def set_up(session: pytest.Session, items: Sequence[pytest.Item], names: Sequence[str]) -> None:
    """Sets these fixtures up in this process. One that fails, or gives a path, is left to the tests."""
    for item in items:
        for name, definitions in getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).items():
            wanted = definitions[-1].scope == "session" and fixture_name(definitions[-1], item) in names
            if wanted and definitions[-1].cached_result is None:
                _set_up(session, item, name, definitions[-1])


def _set_up(session: pytest.Session, item: Any, name: str, fixturedef: Any) -> None:
    state: Any = session._setupstate
    if session not in state.stack:
        state.stack[session] = ([session.teardown], None)
        session.setup()
    item._initrequest()
    try:
        value = item._request.getfixturevalue(name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        value = None
    # What failed is kept by pytest too, and a folder would be written to by all copies at once.
    if fixturedef.cached_result is None or fixturedef.cached_result[2] is not None or isinstance(value, os.PathLike):
        fixturedef.finish(item._request)
    item._request = False
    item.funcargs = None

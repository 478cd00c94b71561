"""Fixtures of the whole session that no fault can reach: set up once, before the copies are made."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from faultlab.testing import randomness
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.test_runner import definitions_of, fixture_name

# What is quicker than this is set up in every copy, as it would be without faults.
_WORTH_SHARING = 0.05


def shareable(knowledge: Knowledge, items: Iterable[pytest.Item]) -> list[str]:
    """The fixtures of the whole session that take their time and can be set up ahead with all that they rest on."""
    found: dict[str, None] = {}
    for item in items:
        for name, definitions in definitions_of(item).items():
            unit = knowledge.units.get(fixture_name(definitions[-1], item))
            worth = unit is not None and unit.seconds >= _WORTH_SHARING
            if worth and all(_harmless(knowledge, item, needed) for needed in _together(item, name)):
                found[fixture_name(definitions[-1], item)] = None
    return list(found)


def set_up(session: pytest.Session, items: Iterable[pytest.Item], names: Sequence[str], rng: Any) -> None:
    """Sets these fixtures up in this process. One that fails, or gives a path, is left to the tests."""
    for item in items:
        for name, definitions in definitions_of(item).items():
            if fixture_name(definitions[-1], item) in names and definitions[-1].cached_result is None:
                for needed in _together(item, name):
                    if definitions_of(item)[needed][-1].cached_result is None:
                        randomness.restore(rng)
                        _set_up(session, item, needed)


def _together(item: Any, name: str) -> list[str]:
    """The fixture, last, after those that it asks for and those that are in use without being asked for."""
    info, found = item._fixtureinfo, dict[str, None]()

    def add(name: str) -> None:
        if name not in found and name in info.name2fixturedefs:
            for needed in info.name2fixturedefs[name][-1].argnames:
                if needed != name:
                    add(needed)
            found[name] = None

    for implied in info.initialnames:
        if implied not in info.argnames and definitions_of(item)[implied][-1].scope == "session":
            add(implied)
    add(name)
    return list(found)


def _harmless(knowledge: Knowledge, item: Any, name: str) -> bool:
    """Whether no fault reaches it, and it has nothing to undo: every copy would do that, to what all others use."""
    definition = definitions_of(item)[name][-1]
    unit = knowledge.units.get(fixture_name(definition, item))
    # By its request a fixture can ask for others, and for something to be undone.
    plain = "request" not in definition.argnames and not inspect.isgeneratorfunction(definition.func)
    untouched = unit is not None and not unit.uses and not unit.touches
    return bool(definition.scope == "session" and plain and untouched)


def _set_up(session: pytest.Session, item: Any, name: str) -> None:
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
    # What failed is kept by pytest too, and a folder would be written to by all copies at once.
    if fixturedef.cached_result is None or fixturedef.cached_result[2] is not None or isinstance(value, os.PathLike):
        fixturedef.finish(item._request)
    item._request = False
    item.funcargs = None

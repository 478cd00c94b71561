"""Fixtures of the whole session that no fault can reach: set up once, before the copies are made."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from faultlab.testing import randomness
from faultlab.testing.knowledge import Knowledge
from faultlab.testing.pytest_internals import definitions_of, implied_fixtures, set_up_ahead
from faultlab.testing.test_runner import fixture_name

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
                        # A folder would be written to by all copies at once.
                        set_up_ahead(session, item, needed, lambda value: not isinstance(value, os.PathLike))


def _together(item: Any, name: str) -> list[str]:
    """The fixture, last, after those that it asks for and those that are in use without being asked for."""
    found, definitions = dict[str, None](), definitions_of(item)

    def add(name: str) -> None:
        if name not in found and name in definitions:
            for needed in definitions[name][-1].argnames:
                if needed != name:
                    add(needed)
            found[name] = None

    for implied in implied_fixtures(item):
        if definitions[implied][-1].scope == "session":
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

"""Session fixtures that no fault can reach: set up once, before the copies are made."""

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

# Seconds; a quicker fixture is set up in every copy.
_WORTH_SHARING = 0.05


def shareable(knowledge: Knowledge, items: Iterable[pytest.Item]) -> list[str]:
    """Return the slow session fixtures that can be set up in advance, along with the fixtures they depend on."""
    found: dict[str, None] = {}
    for item in items:
        for name, definitions in definitions_of(item).items():
            unit = knowledge.units.get(fixture_name(definitions[-1], item))
            worth = unit is not None and unit.seconds >= _WORTH_SHARING
            if worth and all(_harmless(knowledge, item, needed) for needed in _together(item, name)):
                found[fixture_name(definitions[-1], item)] = None
    return list(found)


def set_up(session: pytest.Session, items: Iterable[pytest.Item], names: Sequence[str], rng: Any) -> None:
    """Set these fixtures up in this process, except those that fail or return a path."""
    for item in items:
        for name, definitions in definitions_of(item).items():
            if fixture_name(definitions[-1], item) in names and definitions[-1].cached_result is None:
                for needed in _together(item, name):
                    if definitions_of(item)[needed][-1].cached_result is None:
                        randomness.restore(rng)
                        # All copies would write to the same folder at once.
                        set_up_ahead(session, item, needed, lambda value: not isinstance(value, os.PathLike))


def _together(item: Any, name: str) -> list[str]:
    """Return the fixture, after the fixtures that it requests and those that are used automatically."""
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
    """Return whether no fault reaches the fixture and it has no teardown, which each copy would run."""
    definition = definitions_of(item)[name][-1]
    unit = knowledge.units.get(fixture_name(definition, item))
    # With `request` a fixture can request others, and register a teardown.
    plain = "request" not in definition.argnames and not inspect.isgeneratorfunction(definition.func)
    untouched = unit is not None and not unit.uses and not unit.touches
    return bool(definition.scope == "session" and plain and untouched)

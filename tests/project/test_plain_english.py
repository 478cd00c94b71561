"""docs, docstrings, comments and messages keep few of the idioms that docs/STYLE.md rules out."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from tests.project.plain_english import IDIOMS, counts, places, texts, tree

# Counted by this counter in commit a86f7b3, before the prose was rewritten.
BEFORE = {
    "docstring that is a bare clause": 750,
    "say for print, report or raise": 1061,
    "tell for print, report or show": 251,
    "nobody, somebody, anybody, whoever": 546,
    "is no X": 131,
    "noticed": 1360,
    "anew": 100,
    "mend": 36,
    "grave": 12,
    "stands for is": 74,
    "go on": 201,
    "come to": 79,
    "carry out": 30,
    "of which, by which, from which": 136,
    "excuse, recon, nursery, trunk": 115,
}
KEPT = 20
"""At most one of this many is left."""


@cache
def prose() -> list[tuple[str, str, bool]]:
    """Return the texts of the working tree."""
    return list(texts(tree()))


@cache
def today() -> Counter[str]:
    """Return the counts of the working tree."""
    return counts(iter(prose()))


def test_every_idiom_has_a_limit() -> None:
    assert BEFORE.keys() == IDIOMS.keys()


def test_the_prose_of_every_kind_of_file_is_counted() -> None:
    files = {file for file, _, _ in prose()}
    assert {"README.md", "faultlab/api.py", "docs/DESIGN.md"} <= files
    assert any(file.endswith(".jinja") for file in files)


@pytest.mark.parametrize("idiom", IDIOMS)
def test_at_most_a_twentieth_of_an_idiom_is_left(idiom: str) -> None:
    found = today()[idiom]
    if found > BEFORE[idiom] // KEPT:
        where = "\n".join(f"{file}: {around}" for _, file, around in places(iter(prose()), idiom))
        pytest.fail(f"{found} times '{idiom}', at most {BEFORE[idiom] // KEPT}; see docs/STYLE.md:\n{where}")


def test_an_idiom_is_counted_in_docstrings_comments_messages_and_pages() -> None:
    source = '''
def gate():
    """Whether it passes."""
    # nobody noticed it
    raise ValueError("it says no")
'''
    page = "It is made anew. `nobody` is code.\n\n```\nnobody\n```\n"
    found = counts(texts(iter([("faultlab/one.py", source), ("docs/one.md", page)])))
    assert {name: count for name, count in found.items() if count} == {
        "docstring that is a bare clause": 1,
        "say for print, report or raise": 1,
        "nobody, somebody, anybody, whoever": 1,
        "noticed": 1,
        "anew": 1,
    }

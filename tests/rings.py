"""The two rings of the tests, and the page that lists the nightly one with its reasons: ``python -m tests.rings``."""

from __future__ import annotations

import json
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import warm

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "README.md"
_TOLD = "RINGS "
_COLLECTED = pytest.StashKey[list[pytest.Item]]()
_HEAD = """\
# Tests

- The **quick ring** is what `pytest` runs by default: every failure mode acts, detaches and does what it declares on
  one model, every guard catches and keeps quiet, every command and format works.
- The **nightly ring** repeats that in more places: every mode on every model, targets like those of the field, all
  tortures, whole campaigns. `.ci/nightly` runs both rings, `pytest -m nightly` this one alone.

A test, or a case of one, is put in the nightly ring by `pytest.mark.nightly(reason="...")`. The reason names what the
quick ring has in its place, or what makes the test too expensive for every push.

Tests that start a Python process start a copy of one that has its imports done (`tests/warm.py`).

## The nightly ring

Written by `python -m tests.rings`.

| file | tests | why |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Item:
    """A test, or a case of it; ``reasons`` are empty in the quick ring."""

    file: str
    test: str
    case: str
    reasons: tuple[str, ...]

    @property
    def nightly(self) -> bool:
        return bool(self.reasons)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Prints both rings, where this module is loaded as a plugin."""
    print(f"\n{_TOLD}{json.dumps([astuple(item) for item in map(_read, session.items)])}")


def _read(item: pytest.Item) -> Item:
    name, _, case = item.name.partition("[")
    reasons = tuple(_reason(mark) for mark in item.iter_markers("nightly"))
    return Item(item.path.relative_to(ROOT / "tests").as_posix(), name, case.removesuffix("]"), reasons)


def _reason(mark: pytest.Mark) -> str:
    """The reason that the mark gives, or what is wrong with it."""
    reason = mark.kwargs.get("reason")
    given = isinstance(reason, str) and reason.strip() and not mark.args and len(mark.kwargs) == 1
    return str(reason) if given else f"NO REASON: {mark.args} {mark.kwargs}"


def keep(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests that were collected for `known`, before one of the rings is left out."""
    # Workers of pytest-xdist are given by name what the session has from its settings.
    if [config.invocation_params.dir / argument for argument in config.args] == [ROOT / "tests"]:
        config.stash[_COLLECTED] = list(items)


def known(config: pytest.Config) -> list[Item]:
    """All tests of both rings: what this session has collected, if that is all."""
    kept = config.stash.get(_COLLECTED, None)
    return collected() if kept is None else [_read(item) for item in kept]


def collected() -> list[Item]:
    """All tests of both rings, as pytest collects them."""
    arguments = ["--collect-only", "-qq", "-m", "", "-p", "tests.rings", "-p", "no:cacheprovider", "tests"]
    done = warm.run(["-m", "pytest", *arguments], cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith(_TOLD)]
    entries: list[Any] = json.loads(told.removeprefix(_TOLD))
    return [Item(file, test, case, tuple(reasons)) for file, test, case, reasons in entries]


def page(items: list[Item]) -> str:
    """The list of the nightly ring, a row for each reason in a file."""
    rows: dict[tuple[str, str], dict[str, None]] = {}
    quick = {(item.file, item.test) for item in items if not item.nightly}
    for item in items:
        for reason in item.reasons:
            some = " (some cases)" if (item.file, item.test) in quick else ""
            rows.setdefault((item.file, reason), {})[f"`{item.test}`{some}"] = None
    lines = [f"| {file} | {', '.join(sorted(tests))} | {reason} |" for (file, reason), tests in sorted(rows.items())]
    return _HEAD + "\n".join(lines) + "\n"


def main() -> None:
    with warm.folder():
        PAGE.write_text(page(collected()), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    sys.exit(main())

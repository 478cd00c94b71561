"""One bug: its source, what is wrong, and a training of our own in two versions that differ by one declared change."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

BUGS = Path(__file__).parent / "bugs"
Version = Literal["fixed", "buggy"]
VERSIONS: tuple[Version, ...] = ("fixed", "buggy")
Framework = Literal["torch", "lightning", "transformers"]
Kind = Literal[
    "step",
    "data",
    "labels",
    "loss",
    "optimizer",
    "schedule",
    "mode",
    "metric",
    "checkpoint",
    "precision",
    "fine-tuning",
    "distributed",
]
_EVERY = 5


class InvalidBug(ValueError):  # noqa: N818 - it names what is invalid
    """A bug's files do not have the format of README.md."""


class Change(BaseModel):
    """Lines of fixed.py and what buggy.py has in their place; indentation is relative to the first line."""

    model_config = ConfigDict(extra="forbid")

    fixed: Annotated[str, Field(min_length=1)]
    buggy: str


class Bug(BaseModel):
    """The typed content of a bug.yaml.

    ``source`` is a public thread that was opened and describes the bug; ``date`` is that of the description.
    ``nearest`` is the id of the failure mode that is most like it, or "none". ``reader`` says what a reader of the code
    would have to see. An alert names the cause if it matches one of the patterns in ``cause``. ``measure`` describes
    what the script's function of that name returns, and grows as the training gets worse; in at least ``share`` of the
    seeds the buggy version has to be worse than the fixed one by ``margin``. ``first_step`` is the number of optimizer
    steps before the bug can act.
    """

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    source: Annotated[str, Field(pattern=r"^https://\S+$")]
    date: datetime.date
    framework: Framework
    kind: Kind
    symptom: Annotated[str, Field(min_length=20)]
    nearest: Annotated[str, Field(pattern=r"^(none|[a-z]+\.[a-z0-9-]+)$")]
    reader: Annotated[str, Field(min_length=20)]
    cause: Annotated[list[str], Field(min_length=1)]
    measure: Annotated[str, Field(min_length=5)]
    margin: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(gt=0, le=1)] = 0.8
    seeds: Annotated[int, Field(ge=2)] = 10
    first_step: Annotated[int, Field(ge=0)] = 0
    change: Annotated[list[Change], Field(min_length=1)]

    @field_validator("cause")
    @classmethod
    def _patterns_compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"invalid pattern {pattern!r}: {error}") from None
        return patterns

    @property
    def folder(self) -> Path:
        return BUGS / self.id

    @property
    def held_out(self) -> bool:
        """Whether the bug is set aside: no guard is changed with a look at how it fares on it."""
        return held_out(self.id)

    @property
    def new(self) -> bool:
        """Whether nobody who changes guards has looked at how they fare on it, though it is not set aside."""
        return not self.held_out and self.id not in seen()

    def names_cause(self, text: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern in self.cause)

    def script(self, version: Version) -> str:
        """Return the source of a version."""
        text = (self.folder / "fixed.py").read_text(encoding="utf-8")
        if version == "buggy":
            for change in self.change:
                text = changed(text, change, self.folder / "bug.yaml")
        return text

    def diff(self) -> str:
        """Return the change from the fixed version to the buggy one as a unified diff."""
        texts = [self.script(version).splitlines(keepends=True) for version in VERSIONS]
        return "".join(difflib.unified_diff(*texts, "fixed.py", "buggy.py"))


@cache
def seen() -> frozenset[str]:
    """Return the ids of the bugs that guards were changed with a look at, from seen.txt."""
    lines = (Path(__file__).parent / "seen.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def held_out(name: str) -> bool:
    """Return whether the bug of this id is set aside: every fifth, by the hash of the id."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % _EVERY == 0


def changed(text: str, change: Change, where: Path) -> str:
    """Return the text with the change applied, at the only place that has its lines."""
    wanted = textwrap.dedent(change.fixed).strip("\n").splitlines()
    lines = text.splitlines()
    places = [at for at in range(len(lines)) if _dedented(lines[at : at + len(wanted)]) == wanted]
    if len(places) != 1:
        raise InvalidBug(
            f"{where}: the lines of a change occur {len(places)} times in fixed.py: expected once: {wanted[0]!r}. "
            "Give more lines of it."
        )
    at = places[0]
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    new = textwrap.indent(textwrap.dedent(change.buggy).strip("\n"), indent).splitlines()
    return "\n".join([*lines[:at], *new, *lines[at + len(wanted) :]]) + "\n"


def load(folder: Path) -> Bug:
    """Return the bug in a folder.

    Raises:
        InvalidBug: A file is missing, or bug.yaml is invalid; the message names the file.
    """
    file = folder / "bug.yaml"
    if not file.is_file() or not (folder / "fixed.py").is_file():
        raise InvalidBug(f"{folder}: missing file: expected bug.yaml and fixed.py.")
    try:
        bug = Bug.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise InvalidBug(f"{file}: {error}") from None
    if bug.id != folder.name:
        raise InvalidBug(f"{file}: the id is {bug.id!r}: expected the folder's name, {folder.name!r}.")
    return bug


@cache
def all_bugs() -> tuple[Bug, ...]:
    """Return every bug, sorted by id."""
    return tuple(load(folder) for folder in sorted(BUGS.iterdir()) if folder.is_dir() and folder.name[0] not in "_.")


def chosen(names: Sequence[str]) -> tuple[Bug, ...]:
    """Return the bugs of these ids, or all of them if there are none.

    Raises:
        InvalidBug: An id is unknown; the message has the closest one.
    """
    known = {bug.id: bug for bug in all_bugs()}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise InvalidBug(f"unknown bug {name!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
    return tuple(known[name] for name in names) if names else all_bugs()


def _dedented(lines: Sequence[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).splitlines()

"""The effects of a failure mode by framework and version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab.catalogue import index
from faultlab.catalogue.effects import Effects
from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import StepOutput
from faultlab.errors import CatalogueError

DECLARED = {"lightning": "silent", "lightning>=2.7": "raises", "torch": "warns"}
SILENT = {"lightning": "silent"}


def test_a_word_is_the_effect_everywhere() -> None:
    effects = Effects.parse("warns")
    assert {effects.on(), effects.on("lightning", "9.9"), effects.on("torch", "2.4"), effects.on("other")} == {"warns"}


@pytest.mark.parametrize(
    ("framework", "version", "effect"),
    [
        ("lightning", "2.6.6", "silent"),
        ("lightning", "2.6.6.post1", "silent"),
        ("lightning", "2.7.0", "raises"),
        ("lightning", "3.0", "raises"),
        # What a release changes is in its pre-releases and nightly builds.
        ("lightning", "2.7.0.dev20270101", "raises"),
        ("lightning", "2.7.0rc1", "raises"),
        ("lightning", "2.6.0rc1", "silent"),
        ("lightning", "", "silent"),
        ("lightning", "made-up", "silent"),
        ("torch", "2.13.0+cpu", "warns"),
        ("torch", "", "warns"),
        ("another", "2.7", "silent"),
    ],
)
def test_exceptions_hold_for_their_framework_and_versions(framework: str, version: str, effect: str) -> None:
    assert Effects.parse(DECLARED).on(framework, version) == effect


def test_outside_its_ranges_a_framework_without_a_word_of_its_own_has_lightnings_effect() -> None:
    effects = Effects.parse({**SILENT, "torch >= 2.9, < 2.11": "raises"})
    assert [effects.on("torch", version) for version in ("2.8", "2.9.1", "2.11")] == ["silent", "raises", "silent"]


def test_the_last_range_that_contains_the_version_decides() -> None:
    effects = Effects.parse({**SILENT, "lightning>=2.5": "warns", "lightning>=2.7": "raises"})
    assert [effects.on("lightning", version) for version in ("2.4", "2.6", "2.8")] == ["silent", "warns", "raises"]


def test_effects_are_written_as_they_are_declared() -> None:
    assert Effects.parse(Effects.parse(DECLARED).to_json()) == Effects.parse(DECLARED)
    assert Effects.parse("silent").to_json() == SILENT


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ("loud", "invalid effect 'loud': expected one of raises, warns, silent"),
        (3, "invalid effect 3: expected a word or a mapping"),
        ({}, "incomplete effect: expected the key 'lightning'"),
        ({"torch": "raises"}, "incomplete effect: expected the key 'lightning'"),
        ({**SILENT, "torch": "loud"}, "invalid effect 'loud' of 'torch'"),
        ({**SILENT, "torch": None}, "invalid effect None of 'torch'"),
        ({**SILENT, "lightening>=2": "raises"}, "unknown framework 'lightening' .*Did you mean 'lightning'"),
        ({**SILENT, "lightning 2.7": "raises"}, "invalid versions '2.7' .*expected a range such as '>=2.7'"),
        ({**SILENT, "lightning=>2.7": "raises"}, "invalid versions '=>2.7'"),
        ({**SILENT, "lightning===new": "raises"}, "invalid versions '===new'"),
        ({**SILENT, "lightning>=2.7rc1": "raises"}, "pre-release 2.7rc1 .*Name the release"),
        ({**SILENT, ">=2.7": "raises"}, "invalid key '>=2.7'"),
        ({**SILENT, 2: "raises"}, "invalid key 2"),
        ({**SILENT, "torch>=2.7": "raises", "torch >=2.7": "warns"}, "duplicate effect of 'torch >=2.7'"),
        ({**SILENT, "lightning ": "raises"}, "duplicate effect of 'lightning '"),
    ],
)
def test_an_invalid_declaration_is_refused_at_its_place(declared: Any, why: str) -> None:
    given = {"point": StepOutput(), "severity": "minor", "cause": ("x",), "no_evidence": "made up"}
    with pytest.raises(CatalogueError, match=f"mine.py:7: failure mode 'made.up': {why}"):
        declare(id="made.up", docstring="Says it.", effect=declared, file="mine.py", line=7, **given)


def test_the_index_reads_a_mapping_without_importing_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"""
from faultlab.catalogue.injection_points import StepOutput

@failure_mode("made.up", seam=StepOutput, severity="minor", effect={DECLARED!r}, cause=("x",), no_evidence="made up")
def broken(output, ctx):
    "Says it."
""")
    (mode,) = index.read(file)
    assert mode.effect == Effects.parse(DECLARED)

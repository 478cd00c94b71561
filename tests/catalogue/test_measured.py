"""The published table of what stock Lightning does, and how it is told."""

from __future__ import annotations

import json

import pytest

from faultlab.catalogue import index, measured
from faultlab.catalogue.measured import Table
from faultlab.cli import explain_command
from faultlab.report import described
from faultlab.report.docs import catalogue_pages
from tests.cli.test_cli import _faultlab

MADE_UP = Table(
    {"lightning": "2.0.0", "torch": "2.1.0"},
    ("one", "two", "three", "four"),
    {"return.none": {"two": "warns", "one": "silent", "three": "silent"}},
)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "table", lambda: MADE_UP)


def test_a_table_is_written_in_the_order_of_its_models_and_read_back() -> None:
    text = MADE_UP.to_text()
    assert '\n  "return.none": {"one": "silent", "two": "warns", "three": "silent"}\n' in text
    data = json.loads(text)
    assert Table(data["versions"], tuple(data["models"]), data["modes"]) == MADE_UP


def test_the_effect_on_most_models_comes_first() -> None:
    assert list(MADE_UP.effects("return.none").items()) == [("silent", ["one", "three"]), ("warns", ["two"])]
    assert MADE_UP.effects("return.float") == {}


@pytest.mark.usefixtures("made_up")
def test_the_effects_are_told_with_their_models_and_with_those_that_are_spared() -> None:
    mode = index.modes()["return.none"]
    assert described.effects(mode) == "silent on 2, warns on 1"
    assert described.models(mode) == ["silent on 2: one, three", "warns on 1: two", "does not apply to 1: four"]


@pytest.mark.usefixtures("made_up")
def test_what_was_never_measured_is_said_to_be_so() -> None:
    mode = index.modes()["return.float"]
    assert described.effects(mode) == "not measured"
    assert described.models(mode) == []
    assert ("Measured", "Not yet.") in explain_command._paragraphs(mode)
    assert "- Measured on Lightning 2.0.0: not yet\n" in catalogue_pages.pages({mode.id: mode})["return.md"]


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ("2.0.0", "Measured on Lightning 2.0.0 (the installed version)"),
        ("2.4.1", "Measured on Lightning 2.0.0 (installed: 2.4.1; not measured there)"),
        ("", "Measured on Lightning 2.0.0 (installed: none; not measured there)"),
    ],
)
def test_whether_the_installed_version_was_measured_is_said(
    monkeypatch: pytest.MonkeyPatch, installed: str, said: str
) -> None:
    monkeypatch.setattr(measured, "installed", lambda: installed)
    assert explain_command._measured_on() == said


def test_explain_tells_what_was_measured_in_words_and_as_json() -> None:
    table = measured.table()
    assert f"Measured on Lightning {table.versions['lightning']} (" in _faultlab("explain", "return.none").out
    told = json.loads(_faultlab("explain", "return.none", "--json").out)["measured"]
    assert told["effects"] == table.modes["return.none"]
    assert told["installed"] == measured.installed()
    assert (told["versions"], told["models"]) == (table.versions, list(table.models))

"""The published table of what stock Lightning does, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from faultlab.catalogue import index, measured
from faultlab.catalogue.measured import Table
from faultlab.cli import explain_command, list_command
from faultlab.report import described
from faultlab.report.docs import catalogue_pages
from tests import measure
from tests.cli.test_cli import _faultlab

MADE_UP = Table(
    {"lightning": "2.0.0", "torch": "2.1.0"},
    ("one", "two", "three", "four"),
    {"return.none": {"two": "warns", "one": "silent", "three": "silent"}},
)
LOOPS = Table(
    {"torch": "2.1.0"},
    ("loop", "stream"),
    {"return.none": {"loop": "raises"}, "setting.clip-tiny": {}},
)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "tables", lambda: {"lightning": MADE_UP, "torch": LOOPS})


def test_tables_are_written_in_the_order_of_their_models_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = measured.to_text({"torch": LOOPS, "lightning": MADE_UP})
    assert '\n   "return.none": {"one": "silent", "two": "warns", "three": "silent"}\n' in text
    file = tmp_path / "measured.json"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(measured, "FILE", file)
    measured.tables.cache_clear()
    try:
        assert measured.tables() == {"lightning": MADE_UP, "torch": LOOPS}
        measure.write("torch", Table({"torch": "2.2.0"}, ("loop",), {"return.none": {"loop": "silent"}}))
        assert measured.table("torch").versions == {"torch": "2.2.0"}
        assert measured.table("lightning") == MADE_UP, "the section of another framework has changed"
    finally:
        measured.tables.cache_clear()


def test_an_inconclusive_measurement_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "FILE", tmp_path / "measured.json")
    with pytest.raises(SystemExit, match=r"return.none on loop: error"):
        measure.write("torch", Table({}, ("loop",), {"return.none": {"loop": "error"}}))
    assert not measured.FILE.exists()


def test_the_effect_on_most_models_comes_first() -> None:
    assert list(MADE_UP.effects("return.none").items()) == [("silent", ["one", "three"]), ("warns", ["two"])]
    assert MADE_UP.effects("return.float") == {}


@pytest.mark.usefixtures("made_up")
def test_the_effects_are_told_with_their_models_and_with_those_that_are_spared() -> None:
    mode = index.modes()["return.none"]
    assert described.effects(mode) == "silent on 2, warns on 1"
    assert described.models(mode) == ["silent on 2: one, three", "warns on 1: two", "does not apply to 1: four"]
    assert described.effects(mode, "torch") == "raises on 1"
    assert described.models(mode, "torch") == ["raises on 1: loop", "does not apply to 1: stream"]


@pytest.mark.usefixtures("made_up")
def test_the_effect_in_a_loop_is_printed_beside_that_in_lightning() -> None:
    paragraphs = dict(explain_command._paragraphs(index.modes()["return.none"]))
    assert "stock Lightning warns and continues" in paragraphs["In short"]
    assert paragraphs["In a plain PyTorch loop"].startswith("Ends the run with an error.\nMeasured on torch 2.1.0")
    mode = index.modes()["return.none"]
    pages = catalogue_pages.pages({mode.id: mode})
    assert "- In a plain PyTorch loop: ends the run with an error\n" in pages["return.md"]
    assert (
        "- Measured in loops with torch 2.1.0: raises on 1: loop; does not apply to 1: stream\n" in pages["return.md"]
    )
    assert "| silent on 2, warns on 1 | raises on 1 |" in pages["README.md"]


@pytest.mark.usefixtures("made_up")
def test_a_failure_mode_that_applied_to_no_loop_does_not_apply_in_loops() -> None:
    mode = index.modes()["setting.clip-tiny"]
    assert dict(explain_command._paragraphs(mode))["In a plain PyTorch loop"] == "Does not apply."
    listed = [one["id"] for one in json.loads(_faultlab("list", "--framework", "torch", "--json").out)]
    assert "setting.clip-tiny" not in listed
    assert "return.none" in listed


def test_other_versions_have_their_own_effect() -> None:
    mode = index.modes()["process.terminated"]
    assert described.declared(mode) == "reports nothing; from 2.7 on ends the run with an error"
    assert described.in_loop(mode) == "In a plain PyTorch loop: ends the run with an error."


@pytest.mark.parametrize(("installed", "effect"), [("2.6.6", "silent"), ("2.7.0rc1", "raises"), ("", "silent")])
def test_the_list_is_filtered_by_the_effect_in_the_installed_version(
    monkeypatch: pytest.MonkeyPatch, installed: str, effect: str
) -> None:
    monkeypatch.setattr(measured, "installed", lambda framework="lightning": installed)
    for asked in ("silent", "raises"):
        done = CliRunner().invoke(list_command.command, ["process.terminated", "--effect", asked, "--json"])
        listed = json.loads(done.output)
        assert [one["effect"] for one in listed] == ([effect] if asked == effect else [])


def test_the_list_is_filtered_by_the_effect_in_a_loop() -> None:
    found = _faultlab("list", "process.terminated", "--framework", "torch", "--effect", "raises", "--json")
    assert [one["effect"] for one in json.loads(found.out)] == ["raises"]
    assert json.loads(found.out)[0]["effects"] == {"lightning": "silent", "torch": "raises", "lightning>=2.7": "raises"}


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
    monkeypatch.setattr(measured, "installed", lambda framework: installed)
    assert explain_command._measured_on() == said


def test_explain_tells_what_was_measured_in_words_and_as_json() -> None:
    table = measured.table()
    assert f"Measured on Lightning {table.versions['lightning']} (" in _faultlab("explain", "return.none").out
    sections = json.loads(_faultlab("explain", "return.none", "--json").out)["measured"]
    assert sections.keys() == measured.tables().keys() == {"lightning", "torch"}
    told = sections["lightning"]
    assert told["effects"] == table.modes["return.none"]
    assert told["installed"] == measured.installed()
    assert (told["versions"], told["models"]) == (table.versions, list(table.models))

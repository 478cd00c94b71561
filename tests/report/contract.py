"""What every report format owes: a class of tests to derive from, which finds the format by its file's name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from faultlab.core.report import Report, Status
from faultlab.report import reporters
from tests.report.pages import HOSTILE, fault, found
from tests.report.test_formats import mutant, report

MANY = 2000
BUDGET = 3.0
"""CPU seconds for as many faults, several times what the slowest of faultlab's own formats takes."""


class FormatTester:
    """Renders reports in the format that writes ``file``."""

    file: ClassVar[str]

    @pytest.fixture
    def text(self, tmp_path: Path) -> str:
        """What the format makes of a report with something of everything in it."""
        return self.of(report(mutants=[mutant()]), tmp_path)

    def of(self, made: Report, folder: Path) -> str:
        """Return the text that is written for a report, an empty one where there is no such file."""
        offered = [*reporters.built_in(), *(entry.load() for entry in reporters.added() if entry.name == self.file)]
        (format,) = [one for one in offered if one.file == self.file]
        return format.text(made, folder) or ""

    def read(self, text: str) -> None:
        """Read the text as those will who asked for the format; raise where it is not well-formed."""
        if self.file.endswith(".xml"):
            ElementTree.fromstring(text)
        elif self.file.endswith((".json", ".sarif")):
            json.loads(text)
        elif self.file.endswith((".md", ".html")):
            assert "<script>" not in text

    def test_it_is_among_the_files_that_are_taken_away_before_the_next_campaign(self) -> None:
        assert reporters.files().count(self.file) == 1

    def test_it_says_something_and_can_be_read(self, text: str) -> None:
        assert text.strip()
        self.read(text)

    def test_it_tells_a_report_with_findings_from_an_empty_one(self, text: str, tmp_path: Path) -> None:
        assert self.of(Report("digits"), tmp_path) != text

    def test_it_is_the_same_each_time_and_leaves_the_report_as_it_was(self, text: str, tmp_path: Path) -> None:
        made = report(mutants=[mutant()])
        before = made.to_json()
        assert self.of(made, tmp_path) == text
        assert made.to_json() == before

    def test_a_report_with_next_to_nothing_in_it_can_be_read_too(self, tmp_path: Path) -> None:
        if text := self.of(Report("digits"), tmp_path):
            self.read(text)

    def test_hostile_words_leave_it_readable(self, tmp_path: Path) -> None:
        hostile = [
            fault("loss.scaled", Status.SILENT, reason=HOSTILE * 500),
            fault("return.none", Status.WARNED, warnings=[HOSTILE]),
            fault("loss.nan", Status.DETECTED, detected_by=[found("guard", name=HOSTILE, message=HOSTILE * 500)]),
            fault("step.raises", Status.ERROR, reason=f"{HOSTILE} | a ]]> b"),
        ]
        text = self.of(report(hostile, [mutant(reason=HOSTILE)]), tmp_path)
        # Half a character is written as its escape.
        text.encode("utf-8", "backslashreplace")
        assert "\x00" not in text
        assert "\x1b" not in text
        self.read(text)

    def test_a_report_of_thousands_of_faults_takes_no_time_to_speak_of(self, tmp_path: Path) -> None:
        faults = [fault(f"loss.{number}", Status.SILENT, reason="undetected " * 20) for number in range(MANY)]
        made = report(faults, [mutant(number=number) for number in range(MANY)])
        begun = time.process_time()
        self.of(made, tmp_path)
        assert time.process_time() - begun < BUDGET

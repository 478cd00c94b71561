"""Report formats are added by one file each, those of other packages too, and each owes what all do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faultlab.core.records import Records
from faultlab.core.report import Report
from faultlab.report import files, reporters
from tests.installed import distribution
from tests.report.contract import FormatTester
from tests.report.test_formats import mutant, report

OWN = {"badge.json", "faultlab.sarif", "gitlab.json", "junit.xml", "mutation-report.json", "summary.md"}


class TestBuiltIn(FormatTester):
    @pytest.fixture(autouse=True, params=[one.file for one in reporters.built_in()])
    def each(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "file", request.param, raising=False)


class TestToy(FormatTester):
    file = "faults.tsv"

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        distribution(tmp_path, reporters.ENTRY_POINT_GROUP, {"faults.tsv": "tests.report.toy:FORMAT"})
        monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for reports, with a package installed some of whose formats are broken."""
    entries = {
        "absent.txt": "tests.report.nowhere:FORMAT",
        "broken.txt": "tests.report.toy:BROKEN",
        "faults.tsv": "tests.report.toy:FORMAT",
        "junit.xml": "tests.report.toy:FORMAT",
        "list.txt": "tests.report.toy:LIST",
        "misnamed.txt": "tests.report.toy:ELSEWHERE",
        "plan.json": "tests.report.toy:FORMAT",
        "../faults.tsv": "tests.report.toy:FORMAT",
    }
    distribution(tmp_path / "site", reporters.ENTRY_POINT_GROUP, entries)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "out" / "digits").mkdir(parents=True)
    return tmp_path / "out"


def test_the_formats_of_faultlab_are_found_where_they_lie() -> None:
    assert {one.file for one in reporters.built_in()} == OWN


def test_a_format_of_another_package_is_written_beside_the_others(out: Path) -> None:
    files.write(report(mutants=[mutant()]), out)
    assert {file.name for file in (out / "digits").iterdir()} == {*OWN, "faults.tsv", "index.html"}
    assert (out / "digits" / "faults.tsv").read_text().startswith("9 faults\nsilent\tloss.scaled@always\n")


def test_a_broken_format_costs_nothing_but_its_own_file_and_says_why(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(report(), out)
    told = capsys.readouterr().err
    for name, why in {
        "absent.txt": "ModuleNotFoundError: No module named 'tests.report.nowhere'",
        "broken.txt": "IndexError: list index out of range",
        "junit.xml": "faultlab itself writes a file of that name; use another name",
        "list.txt": "TypeError: it rendered list: expected str or None",
        "misnamed.txt": "it declares the file 'other.txt': expected its entry point's name",
        "plan.json": "faultlab itself writes a file of that name; use another name",
        "../faults.tsv": "invalid file name: expected letters, digits",
    }.items():
        assert f"the format '{name}' of toy" in told
        assert f"was not written: {why}" in told
    assert "'faults.tsv'" not in told
    assert "run `faultlab report`" in told
    assert (out / "digits" / "junit.xml").read_text().startswith("<?xml")


def test_what_another_packages_format_said_goes_before_the_next_campaign_and_nothing_else_does(out: Path) -> None:
    records = Records(out / "digits")
    (out / "digits" / "plan.json").write_text("{}")
    (out / "faults.tsv").write_text("somebody else's")
    files.write(Report("digits"), out)
    assert (out / "digits" / "faults.tsv").exists()
    records.clear(resume=False, formats=reporters.files())
    assert {file.name for file in (out / "digits").iterdir()} == {".earlier", "logs", "plan.json"}
    assert (out / "faults.tsv").exists()

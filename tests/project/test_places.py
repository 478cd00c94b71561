"""Where files belong and how long they may be: the tests mirror the packages of faultlab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
LONGEST = 400
# What the tests of a whole package have in their folder, since one of them covers several of its parts.
IN_THE_FOLDER_OF_THEIR_PACKAGE = {
    # Data that the catalogue is made of; a failure mode names both.
    *("catalogue.injection_points", "catalogue.requirements"),
    # What a command writes.
    "cli.demo",
    # Stages of one examination, of which only the whole can be judged.
    *("doctor.errors", "doctor.experiments", "doctor.loops"),
    # One contract for all frameworks, and their seams are attached by injection.
    *("frameworks.hf", "frameworks.lightning", "frameworks.loops", "frameworks.torch"),
    *("frameworks.lightning.seams", "frameworks.loops.seams", "frameworks.torch.seams"),
    # What guards are made of.
    "guards.support",
    # One report in each of its forms.
    *("report.docs", "report.formats", "report.html"),
}
OF_NO_PACKAGE = {
    "api": "modules at the root of faultlab",
    "healthy": "trainings under all guards, from which a page of the documentation is written",
    "mutated": "a project with tests of its own, which `faultlab mutate` runs",
    "project": "the repository itself",
}


def _packages() -> set[str]:
    found = {file.parent.relative_to(ROOT / "faultlab") for file in (ROOT / "faultlab").rglob("__init__.py")}
    return {".".join(folder.parts) for folder in found if folder.parts}


def _own_folder(package: str) -> Path:
    return TESTS.joinpath(*package.split("."))


@pytest.mark.parametrize("top", ["faultlab", "tests", "benchmarks"])
def test_no_file_grows_beyond_what_one_reads_at_a_sitting(top: str) -> None:
    lengths = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in (ROOT / top).rglob("*.py")
    }
    assert len(lengths) > 10
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_package_has_its_folder_of_tests() -> None:
    assert {package for package in _packages() if not _own_folder(package).is_dir()} == IN_THE_FOLDER_OF_THEIR_PACKAGE


@pytest.mark.parametrize("package", sorted(name for name in _packages() if "." not in name))
def test_the_tests_in_a_packages_folder_use_the_package(package: str) -> None:
    named = re.compile(rf"\bfaultlab\.{package}\b|from faultlab import .*\b{package}\b")
    texts = [file.read_text(encoding="utf-8") for file in _own_folder(package).glob("test_*.py")]
    assert any(named.search(text) for text in texts)


def test_every_folder_with_tests_is_that_of_a_package() -> None:
    folders = {file.parent.relative_to(TESTS).parts for file in TESTS.rglob("test_*.py")}
    tops = {parts[0] if parts else "the root of tests" for parts in folders}
    assert tops - _packages() == OF_NO_PACKAGE.keys()


@pytest.mark.parametrize("script", ["compatibility", "nightly", "run"])
def test_the_tests_that_the_ci_names_exist(script: str) -> None:
    text = (ROOT / ".ci" / script).read_text(encoding="utf-8")
    for stem, choice, rest in re.findall(r"\b(tests/[\w/]+)(?:\{([\w,]+)\})?(\.py)?", text):
        for one in choice.split(","):
            assert (ROOT / f"{stem}{one}{rest}").exists(), (script, f"{stem}{one}{rest}")

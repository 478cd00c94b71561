"""Options of ``pytest --faultlab`` in pytest's ini file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab import pytest_plugin
from tests.suites import run

INI = """\
[pytest]
faultlab_target = mymodel:LitModel
faultlab_select = loss.* label.noisy:fraction=0.5
faultlab_ignore = loss.nan
faultlab_matrix = true
faultlab_jobs = 3
faultlab_leave_out = true
faultlab_timeout = 2.5
faultlab_fail_under = 0.7
faultlab_out = reports/tests
"""
PYPROJECT = """\
[tool.pytest.ini_options]
faultlab_select = ["loss.*", "label.noisy:fraction=0.5"]
faultlab_jobs = "3"
"""


def _options(pytester: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    option = pytester.parseconfigure(*arguments).option
    return {name.removeprefix("faultlab_"): getattr(option, name) for name in pytest_plugin._INI}


def test_the_ini_file_sets_every_option(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest=INI)
    assert _options(pytester, "--faultlab") == {
        "target": ["mymodel:LitModel"],
        "select": ["loss.*", "label.noisy:fraction=0.5"],
        "ignore": ["loss.nan"],
        "matrix": True,
        "jobs": 3,
        "leave_out": True,
        "timeout": 2.5,
        "fail_under": 0.7,
        "out": str(pytester.path / "reports" / "tests"),
    }


def test_the_command_line_overrides_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest=INI)
    given = ["--faultlab-select=data.*", "--faultlab-jobs=1", "--faultlab-out=elsewhere", "-o", "faultlab_matrix=false"]
    options = _options(pytester, "--faultlab", *given)
    assert (options["select"], options["jobs"], options["out"]) == (["data.*"], 1, "elsewhere")
    assert options["matrix"] is False
    assert options["timeout"] == 2.5


def test_pyproject_takes_lists(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(PYPROJECT)
    options = _options(pytester, "--faultlab")
    assert (options["select"], options["jobs"]) == (["loss.*", "label.noisy:fraction=0.5"], 3)


@pytest.mark.parametrize(
    "arguments", [(), ("--faultlab", "--faultlab-no-ini")], ids=["a plain run", "a scenario's run"]
)
def test_a_run_that_does_not_ask_takes_nothing_from_it(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    pytester.makefile(".ini", pytest=INI)
    options = _options(pytester, *arguments)
    assert (options["select"], options["jobs"], options["out"]) == ([], None, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("faultlab_jobs = many", "a whole number"), ("faultlab_fail_under = 70%", "a number")],
    ids=["jobs", "fail_under"],
)
def test_an_invalid_value_is_named_with_its_file(pytester: pytest.Pytester, line: str, expected: str) -> None:
    pytester.makefile(".ini", pytest=f"[pytest]\n{line}\n")
    ran = run(pytester, "def test_nothing():\n    pass\n", "--faultlab")
    assert ran.status == 4, ran.text
    name, _, value = line.partition(" = ")
    ran.says(f"{pytester.path / 'pytest.ini'}: invalid {name} {value!r}: expected {expected}")


def test_every_option_that_a_project_can_fix_has_an_ini_name(pytester: pytest.Pytester) -> None:
    shown = {name for name in vars(pytester.parseconfigure().option) if name.startswith("faultlab_")}
    each_run = {"faultlab_inject", "faultlab_learnt"}
    hidden = {"faultlab_settled", "faultlab_no_ini", "faultlab_mutants", "faultlab_mutant", "faultlab_killer"}
    assert shown - each_run - hidden == set(pytest_plugin._INI)


def test_the_documentation_lists_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    assert [name for name in pytest_plugin._INI if f"`{name}`" not in page] == []

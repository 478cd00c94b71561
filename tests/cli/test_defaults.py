"""Defaults of options in pyproject.toml and in environment variables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlab.cli import _COMMANDS, group
from faultlab.cli.defaults import options_of
from tests.support import Called, call, report, result, run_folder

Gate = Callable[..., Called]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    run_folder(tmp_path / "reports", report(result("loss.nan@always", "silent")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gate(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gate:
    def called(*options: str, config: str = "") -> Called:
        (project / "pyproject.toml").write_text(config)
        return call(capsys, monkeypatch, "gate", *options)

    return called


@pytest.mark.parametrize("config", ["[tool.faultlab]\nfail-under = 0.5\n", "[tool.faultlab.gate]\nfail-under = 0.5\n"])
def test_a_default_of_all_commands_or_of_one_holds_until_the_command_line_overrides_it(gate: Gate, config: str) -> None:
    assert gate().status == 0
    failed = gate(config=config)
    assert failed.status == 1
    assert "coverage 0.00 is below 0.50" in failed.out
    assert gate("--fail-under", "0", config=config).status == 0


def test_the_file_of_a_folder_above_counts_too(
    project: Path,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate(config="[tool.faultlab.gate]\nfail-under = 0.5\n")
    (project / "deeper").mkdir()
    monkeypatch.chdir(project / "deeper")
    assert options_of(group.get_command(group.make_context("faultlab", ["gate"]), "gate"))  # type: ignore[arg-type]
    made = group.make_context("faultlab", ["gate"])
    assert made.default_map == {"gate": {"fail_under": 0.5}}


def test_an_environment_variable_overrides_the_file(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "[tool.faultlab.gate]\nfail-under = 0.5\n"
    monkeypatch.setenv("FAULTLAB_GATE_FAIL_UNDER", "0")
    assert gate(config=config).status == 0
    monkeypatch.setenv("FAULTLAB_GATE_FAIL_UNDER", "0.9")
    assert "is below 0.90" in gate(config=config).out
    monkeypatch.setenv("FAULTLAB_GATE_JSON", "1")
    assert json.loads(gate().out)["passed"] is False


@pytest.mark.parametrize(
    ("config", "place", "message", "remedy"),
    [
        ("[tool.faultlab]\n\njobz = 1\n", "3:1", "unknown key 'jobz' in [tool.faultlab]", "Did you mean 'jobs'?"),
        ("[tool.faultlab.gate]\n 'fail_under' = 1\n", "2:3", "unknown key 'fail_under'", "Did you mean 'fail-under'?"),
        ("[tool.faultlab.gat]\n", "1:1", "unknown key 'gat' in [tool.faultlab]", "Did you mean 'gate'?"),
        ("[tool.faultlab.gate]\nhelp = true\n", "2:1", "unknown key 'help' in [tool.faultlab.gate]", "Known keys: "),
        ("[tool.faultlab]\nx = ]\n", "2:5", "invalid TOML", ""),
    ],
)
def test_an_unknown_key_is_an_error_with_its_place(
    gate: Gate, config: str, place: str, message: str, remedy: str
) -> None:
    done = gate(config=config)
    assert (done.status, done.out) == (2, "")
    assert f"pyproject.toml:{place}: {message}" in done.err
    assert remedy in done.err


def test_no_variable_of_an_option_is_one_that_faultlab_uses_for_something_else() -> None:
    context = group.make_context("faultlab", ["list"])
    variables = [
        option.envvar
        for name in _COMMANDS
        if (command := group.get_command(context, name)) is not None
        for option in options_of(command).values()
    ]
    assert len(set(variables)) == len(variables)
    assert not {"FAULTLAB_WARM", "FAULTLAB_HEARTBEAT", "_FAULTLAB_COMPLETE"} & set(variables)
    assert "FAULTLAB_RUN_OUT" in variables

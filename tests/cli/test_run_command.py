"""What `faultlab run` does around a campaign, without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab.cli import run_command
from faultlab.core.report import Report
from tests.support import call, detection, report, result

SCENARIO = "schema: 1\nname: made-up\nmodule: {class_path: torch.nn.Linear}\n"


@pytest.mark.parametrize(
    ("asked", "options", "made"),
    [
        ("", [], False),
        ("mutants: {}\n", [], True),
        ("gate: {mutants: 0.5}\n", [], True),
        ("gate: {mutants: 0.5}\n", ["--no-mutants"], False),
        ("gate: {coverage: 0.5}\n", [], False),
    ],
)
def test_mutants_are_made_where_the_scenario_or_its_gate_asks_for_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    options: list[str],
    made: bool,
) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO + asked)
    found = report(result("loss.nan@always", "detected", detected_by=[detection()]))
    mutated: list[str] = []

    def mutate(scenario: Any, working: Any, options: Any, progress: Any, found: Report) -> tuple[Report, int]:
        mutated.append(scenario.name)
        return found, 1

    monkeypatch.setattr(run_command, "_carry_out", lambda *given: (found, 0))
    monkeypatch.setattr(run_command, "_mutate", mutate)
    done = call(capsys, monkeypatch, "run", file, "--quiet", *options)
    assert mutated == ["made-up"] * made
    assert done.status == int(made)


@pytest.mark.parametrize("option", ["--fail-under", "--timeout"])
def test_what_is_no_number_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    done = call(capsys, monkeypatch, "run", tmp_path, option, "nan")
    assert done.status == 2
    assert "'nan' is not a finite number" in done.err

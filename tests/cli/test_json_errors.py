"""With --json, an error is one JSON document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.cli import multi_run, run_command
from faultlab.config.scenario import Scenario
from faultlab.errors import BaselineError
from tests.support import call

SCENARIO = "schema: 1\nname: {}\nmodule: {{class_path: {}}}\n"


@pytest.mark.parametrize(
    ("command", "kind", "status", "said"),
    [
        (["gate", "nowhere"], "usage", 2, "nowhere: no such file or folder"),
        (["gate"], "inconclusive", 4, "no folder reports/ here"),
        (["gate", "--nonsense"], "usage", 2, "No such option"),
        (["run", "--jobs", "0"], "usage", 2, "not in the range"),
        (["explain", "loss.nane"], "usage", 2, "unknown failure mode 'loss.nane'"),
        (["explain", "los"], "usage", 2, "unknown failure mode 'los'. Did you mean 'loss'?"),
        (["init", "train.py", "--lr", "0.1"], "usage", 2, "Arguments of your script go after --, as in `-- --lr ...`."),
        (["replay", "loss.nan", "--scenario", "bad.yaml"], "scenario", 2, "bad.yaml:3:10: can't import 'trian'"),
        (["qqq"], "usage", 2, "no such command"),
    ],
)
def test_an_error_is_one_document_with_kind_message_and_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    kind: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(SCENARIO.format("bad", "trian.Lit"))
    done = call(capsys, monkeypatch, *command, "--json")
    error = json.loads(done.out)["error"]
    assert (done.status, done.err) == (status, "")
    assert (error["kind"], error["exit_code"]) == (kind, status)
    assert said in error["message"]
    if kind == "scenario":
        (problem,) = error["problems"]
        assert (problem["file"], problem["line"], problem["column"]) == ("bad.yaml", 3, 10)


def test_what_a_watched_command_is_given_is_not_for_faultlab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call(capsys, monkeypatch, "watch", "--stall", "x", "python", "--json")
    assert (done.status, done.out) == (2, "")
    assert "--stall" in done.err


def test_a_scenario_that_fails_is_listed_behind_the_reports_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        interrupted = False

        def __init__(self, scenario: Scenario, *given: Any) -> None:
            pass

        def run(self) -> None:
            raise BaselineError("the clean run already fails")

    monkeypatch.setattr(run_command, "Campaign", Failing)
    (tmp_path / "one.yaml").write_text(SCENARIO.format("one", "torch.nn.Linear"))
    done = call(capsys, monkeypatch, "run", tmp_path, "--json", "--out", tmp_path / "out")
    (entry,) = json.loads(done.out)
    assert done.status == 3
    assert (entry["error"]["kind"], entry["error"]["exit_code"]) == ("clean-run", 3)
    assert entry["error"]["problems"][0]["file"] == str(tmp_path / "one.yaml")
    assert "the clean run already fails" in done.err


def test_a_failed_clean_run_keeps_its_kind_and_status_with_its_scenario(tmp_path: Path) -> None:
    error = multi_run.told(BaselineError("it fails", "a.log"), tmp_path / "s.yaml")
    assert (error.kind, error.exit_code) == ("clean-run", 3)
    assert str(error).startswith(f"{tmp_path / 's.yaml'}:1:1: it fails")

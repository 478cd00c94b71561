"""What a newcomer does wrong first, and defaults that spare an argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import call, report, result, run_folder

SCENARIO = "schema: 1\nname: {}\nmodule: {{class_path: trian.Lit}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/one.yaml").write_text(SCENARIO.format("one"))
    (tmp_path / "train.py").write_text("print('imported')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "command", [["run", "train.py"], ["prescribe", "train.py"], ["replay", "loss.nan", "--scenario", "train.py"]]
)
def test_a_script_in_place_of_a_scenario_gets_the_command_that_writes_one(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    done = call(capsys, monkeypatch, *command)
    assert (done.status, done.out) == (2, "")
    assert "train.py: a Python script, not a scenario file" in done.err
    assert "`faultlab init train.py`" in done.err


COMMANDS = [["replay", "loss.nan"], ["sweep", "label.noisy"], ["prescribe"], ["run"], ["mutate"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_only_scenario_is_the_default(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    done = call(capsys, monkeypatch, *command)
    assert done.status == 2
    assert "scenarios/one.yaml:3:10: can't import 'trian'" in done.err, "it was read"


@pytest.mark.parametrize("command", COMMANDS[:3])
def test_of_several_scenarios_one_has_to_be_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (project / "scenarios/two.yaml").write_text(SCENARIO.format("two"))
    done = call(capsys, monkeypatch, *command)
    assert (done.status, done.out) == (2, "")
    assert "scenarios/one.yaml" in done.err
    assert "scenarios/two.yaml" in done.err


@pytest.mark.parametrize("command", [*COMMANDS, ["demo"]])
def test_a_folder_that_can_not_be_written_to_is_found_before_anything_runs(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (project / "scenarios/one.yaml").write_text(SCENARIO.format("one").replace("trian", "torch.nn"))
    monkeypatch.setattr("faultlab.engines.create", lambda *given: pytest.fail("an engine was made"))
    (project / "file").touch()
    done = call(capsys, monkeypatch, *command, "--out", "file/reports")
    assert (done.status, done.out) == (2, "")
    assert "--out" in done.err
    assert "can't write to 'file/reports'" in done.err


def test_a_folder_that_does_not_exist_yet_is_not_made_by_a_command_that_fails(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(capsys, monkeypatch, "run", "--out", "new/reports")
    assert sorted(file.name for file in project.iterdir()) == ["scenarios", "train.py"]


def test_a_family_is_explained_by_its_failure_modes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = call(capsys, monkeypatch, "list", "loss.*")
    assert call(capsys, monkeypatch, "explain", "loss") == listed
    assert "loss.nan" in listed.out
    as_json = call(capsys, monkeypatch, "explain", "loss", "--json")
    assert as_json == call(capsys, monkeypatch, "list", "loss.*", "--json")


def test_report_is_quiet_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder(tmp_path, report(result("loss.nan@always", "silent")))
    assert call(capsys, monkeypatch, "report", tmp_path).out.endswith("index.html\n")
    assert call(capsys, monkeypatch, "report", tmp_path, "--quiet").out == ""
    assert (tmp_path / "made-up" / "index.html").is_file()


@pytest.mark.parametrize("beside", [True, False])
def test_the_baseline_is_written_beside_the_scenarios_and_not_among_the_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "reports", report(result("loss.nan@always", "silent")))
    if beside:
        (tmp_path / "scenarios").mkdir()
    asked = ("--reason", "no guard yet", "--expires", "2999-01-01")
    assert call(capsys, monkeypatch, "gate", "--accept", *asked).status == 0
    file = tmp_path / ("scenarios/faultlab-baseline.json" if beside else "faultlab-baseline.json")
    assert file.is_file()
    assert call(capsys, monkeypatch, "gate", "--baseline", file).status == 0


def test_a_baseline_of_the_configuration_does_not_keep_from_running_a_part(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text("[tool.faultlab]\nbaseline = 'nowhere.json'\n")
    assert "nowhere.json: no such file" in call(capsys, monkeypatch, "run").err
    assert "can't import 'trian'" in call(capsys, monkeypatch, "run", "--select", "loss.nan").err
    narrowed = call(capsys, monkeypatch, "run", "--select", "loss.nan", "--baseline", "nowhere.json")
    assert "--baseline needs complete runs" in narrowed.err

"""What CI is given: the action, the examples and the hook are what their services take, and the action's steps work."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_cli import ROOT
from tests.published import violations_of

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
SCRIPTS = [step for step in STEPS.values() if "run" in step]
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
SCENARIO = """\
schema: 1
name: tiny
build: {class_path: tests.zoo.models.classifier}
trainer: {max_epochs: 1}
"""


def vendored(name: str) -> Any:
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def loaded(file: str) -> Any:
    # In YAML 1.1, which GitHub does not read, `on` is true.
    found = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in found.items()} if isinstance(found, dict) else found


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("action.yml", "github-actions"),
        ("docs/ci/github.yml", "github-workflows"),
        ("docs/ci/gitlab-ci.yml", "gitlab-ci"),
    ],
)
def test_the_files_for_ci_are_what_their_services_take(file: str, schema: str) -> None:
    assert violations_of(vendored(schema), loaded(file)) == []


def test_a_misspelt_key_of_the_action_would_be_found_out() -> None:
    wrong = {**ACTION, "runs": {"using": "composite", "stepz": []}}
    assert violations_of(vendored("github-actions"), wrong) != []


def test_the_hook_has_what_pre_commit_asks_for() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert hook["id"] == "faultlab-check"


def test_no_input_is_pasted_into_a_script() -> None:
    assert len(SCRIPTS) == 2
    for step in SCRIPTS:
        assert "${{" not in step["run"], "it would be run as part of the script"
        assert step["shell"] == "bash"


def test_every_input_is_used_and_described_and_none_that_there_is_not() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    assert all(given["description"] and "default" in given for given in ACTION["inputs"].values())


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    (tmp_path / "bin").mkdir()
    return tmp_path


def step(name: str, work: Path, **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Runs a step's script as GitHub does, with these inputs beside the defaults, and reads its outputs."""
    given = {name: one["default"] for name, one in ACTION["inputs"].items()}
    known = {
        f"inputs.{key}": value for key, value in (given | {k.replace("_", "-"): v for k, v in inputs.items()}).items()
    }
    known["github.action_path"] = str(ROOT)
    env = {key: EXPRESSION.sub(lambda found: known[found[1]], value) for key, value in STEPS[name]["env"].items()}
    outputs, summary = work / "outputs", work / "summary.md"
    outputs.touch()
    hosted = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)}
    path = f"{work / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    whole = {**os.environ, **hosted, **env, "PATH": path, "PYTHONPATH": str(ROOT)}
    script = work / "script.sh"
    script.write_text(STEPS[name]["run"])
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    done = subprocess.run(command, cwd=work, env=whole, capture_output=True, text=True, timeout=200)
    return done, dict(line.split("=", 1) for line in outputs.read_text().splitlines())


def stubbed(work: Path, status: int = 0) -> Path:
    """Puts a `python` first that writes its arguments, one a line, and ends with this status."""
    told = work / "told"
    (work / "bin/python").write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {told}\nexit {status}\n")
    (work / "bin/python").chmod(0o755)
    return told


def warmed(work: Path) -> None:
    """Puts a `python` first that is a copy of a warm process, with the same streams and status."""
    program = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests import warm\n"
    program += "sys.exit(warm.Process(sys.argv[1:], imports='command').wait())\n"
    (work / "bin/python").write_text(f"#!{sys.executable}\n{program}")
    (work / "bin/python").chmod(0o755)


def test_the_action_runs_a_scenario_annotates_and_leaves_reports_and_a_summary(work: Path) -> None:
    warmed(work)
    arguments = "--select=loss.nan\n--select=loss.negated\n\n--jobs=1"
    done, outputs = step("Run faultlab", work, paths="tiny.yaml", fail_under="0.9", arguments=arguments)
    assert done.returncode == 1, done.stderr
    assert outputs == {"status": "1", "artifact": "faultlab-reports"}
    assert "::error file=tiny.yaml,title=faultlab%3A tiny does not pass::coverage 0.00 is below 0.90" in done.stdout
    report = json.loads((work / "reports/tiny/selected/report.json").read_text())
    assert {fault["mode"] for fault in report["faults"]} == {"loss.nan", "loss.negated"}
    assert (work / "summary.md").read_text().startswith("## faultlab: tiny (partial), gate NOT passed")


def test_a_wrong_scenario_keeps_its_own_status(work: Path) -> None:
    (work / "wrong.yaml").write_text("schema: 1\nname: wrong\n")
    done, outputs = step("Run faultlab", work, paths="wrong.yaml")
    assert (done.returncode, outputs["status"]) == (2, "2")
    assert "wrong.yaml:1:1: either `module` or `build` is required" in done.stderr


def test_every_input_becomes_its_option(work: Path) -> None:
    told = stubbed(work, 4)
    done, outputs = step(
        "Run faultlab", work, paths="a.yaml\n\nb c/\n", fail_under="0.8", baseline="accepted.json", shard="2/3",
        arguments="--select=loss.*", out="o u t", artifact="my reports",
    )  # fmt: skip
    assert done.returncode == 4
    assert told.read_text().splitlines() == [
        "-m", "faultlab", "run", "--out=o u t", "--fail-under=0.8", "--baseline=accepted.json", "--shard=2/3",
        "--select=loss.*", "--", "a.yaml", "b c/",
    ]  # fmt: skip
    assert outputs == {"status": "4", "artifact": "my_reports-2-of-3"}


@pytest.mark.parametrize("name", ["Run faultlab", "Install faultlab"])
def test_what_an_input_says_is_never_run(work: Path, name: str) -> None:
    told = stubbed(work)
    evil = "$(touch pwned); `touch pwned` \" ' && touch pwned #"
    used = set(re.findall(r"inputs\.([\w-]+)", str(STEPS[name]["env"])))
    done, outputs = step(name, work, **{key.replace("-", "_"): evil for key in used})
    assert done.returncode == 0, done.stderr
    assert not (work / "pwned").exists()
    assert any(evil in line for line in told.read_text().splitlines())
    assert set(outputs) <= {"status", "artifact"}


@pytest.mark.parametrize(
    ("install", "installed"),
    [("", [str(ROOT)]), ("faultlab==0.1.0", ["faultlab==0.1.0"]), (".[test]\n\nfaultlab\n", [".[test]", "faultlab"])],
)
def test_what_is_installed_is_the_actions_own_source_unless_said(
    work: Path, install: str, installed: list[str]
) -> None:
    told = stubbed(work)
    done, _ = step("Install faultlab", work, install=install)
    assert done.returncode == 0, done.stderr
    assert told.read_text().splitlines() == ["-m", "pip", "install", *installed]


def test_what_an_example_leaves_out_of_the_main_job_is_run_every_night() -> None:
    (line,) = [line for line in (ROOT / ".ci/nightly").read_text().splitlines() if "faultlab run" in line]
    assert line.endswith("--select '*'")
    expanded = subprocess.run(["bash", "-c", f"echo {line}"], capture_output=True, text=True, check=True).stdout.split()
    partial = {}
    for file in sorted((ROOT / "scenarios").rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        if "select" in yaml.safe_load(text).get("faults", {}):
            partial[file.relative_to(ROOT).as_posix()] = text
    # The first is ddp.yaml with guards, and tests/engines/test_shards.py has the whole of the second.
    elsewhere = {"scenarios/digits/ddp_guarded.yaml", "scenarios/text/fsdp2.yaml"}
    assert {word for word in expanded if word.endswith(".yaml")} == set(partial) - elsewhere
    assert [file for file, text in partial.items() if "nightly" not in text] == []

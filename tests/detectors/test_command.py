"""Commands as guards: what they are given, and what their exit code means."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import faultlab
from faultlab.config.scenario import load
from faultlab.core import command_words
from faultlab.detectors.command import Command, CommandFailed
from tests.zoo.models import classifier

# A judge of logs as small as they come: the loss must be finite, and fall.
JUDGE = """\
import json, math, sys
losses = [one["loss"] for one in map(json.loads, open(sys.argv[1])) if "loss" in one]
if not losses or not all(map(math.isfinite, losses)):
    sys.exit("the loss is not finite")
"""


@pytest.fixture
def judge(tmp_path: Path) -> str:
    (tmp_path / "judge.py").write_text(JUDGE)
    return f"{sys.executable} {tmp_path / 'judge.py'} {{log}}"


def _trained(callback: Any, **settings: Any) -> Any:
    module, data = classifier()[:2]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(**{**quiet, "enable_checkpointing": False, "max_epochs": 2, **settings}, callbacks=[callback])
    trainer.fit(module, data) if not isinstance(data, tuple) else trainer.fit(module, *data)
    return module


def _copied(tmp_path: Path, what: str) -> tuple[str, Path]:
    (tmp_path / "copy.py").write_text("import shutil, sys\nshutil.copy(*sys.argv[1:])\n")
    return f"{sys.executable} {tmp_path / 'copy.py'} {{{what}}} {tmp_path / 'copied'}", tmp_path / "copied"


def test_the_log_has_each_step_with_loss_rate_and_gradient_and_the_metrics(tmp_path: Path) -> None:
    command, copied = _copied(tmp_path, "log")
    _trained(Command(command))
    lines = [json.loads(line) for line in copied.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(len(steps)))
    assert {line["epoch"] for line in steps} == {0, 1}
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 and line["learning_rate"] > 0 for line in steps)
    metrics = [line for line in lines if "loss" not in line]
    assert metrics
    assert all(set(line) > {"step", "epoch"} for line in metrics)


def test_accumulated_batches_are_one_step_with_the_loss_that_its_gradient_is_of(tmp_path: Path) -> None:
    command, copied = _copied(tmp_path, "log")
    _trained(Command(command), accumulate_grad_batches=2, limit_train_batches=4, max_epochs=1)
    steps = [json.loads(line) for line in copied.read_text().splitlines() if '"loss"' in line]
    assert [line["step"] for line in steps] == [0, 1]
    # The mean of two losses near ln(classes), and not their sum.
    assert all(0.5 < line["loss"] < 4 for line in steps)


def test_the_checkpoint_has_the_final_weights(tmp_path: Path) -> None:
    command, copied = _copied(tmp_path, "checkpoint")
    module = _trained(Command(command))
    saved = torch.load(copied)
    assert saved.keys() == module.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("code", "timeout", "said"),
    [
        ("import sys; print('the rate', 'is 0'); sys.exit(3)", 120, "exit code 3: the rate is 0"),
        ("import time; time.sleep(600)", 1, "has not ended within 1 s"),
    ],
)
def test_another_exit_code_than_zero_fails_with_what_the_command_printed(code: str, timeout: int, said: str) -> None:
    with pytest.raises(CommandFailed, match=said):
        _trained(Command(f'{sys.executable} -c "{code}"', timeout=timeout), max_steps=1)


def test_the_output_of_a_command_may_be_long_and_its_end_is_reported() -> None:
    flood = f'{sys.executable} -c "import sys; [print(7 * str(n)) for n in range(10 ** 5)]; sys.exit(1)"'
    with pytest.raises(CommandFailed, match=r"^exit code 1: (9999\d{31}\n?){5}$") as caught:
        _trained(Command(flood), max_steps=1)
    assert len(str(caught.value)) < 300
    with pytest.raises(CommandFailed, match="has not ended within 1 s"):
        _trained(Command("yes", timeout=1), max_steps=1)


def test_what_a_command_leaves_running_does_not_delay_its_exit_code() -> None:
    began = time.monotonic()
    _trained(Command("sh -c 'sleep 60 & exit 0'", timeout=50), max_steps=1)
    with pytest.raises(CommandFailed, match="exit code 3: not good"):
        _trained(Command("sh -c 'sleep 60 & echo not good; exit 3'", timeout=50), max_steps=1)
    assert time.monotonic() - began < 50


def test_a_program_that_is_missing_fails() -> None:
    with pytest.raises(CommandFailed, match="can't run no-such-judge: No such file"):
        _trained(Command("no-such-judge {log}"), max_steps=1)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("trainproof epoch {log}", "trainproof epoch"),
        ("/usr/bin/judge --strict {log}", "judge"),
        ("python judge.py {log}", "python"),
    ],
)
def test_a_command_is_named_after_its_program_and_subcommand(command: str, name: str) -> None:
    assert command_words.name_of(command) == name


def test_braces_that_are_no_placeholder_are_left_alone() -> None:
    words = command_words.filled("judge '{\"a\": 1}' x={log}", {"log": "run.jsonl", "checkpoint": "c"})
    assert words == ["judge", '{"a": 1}', "x=run.jsonl"]


@pytest.mark.usefixtures("from_the_root")
def test_in_a_scenario_a_command_detects_faults_and_is_judged_on_clean_runs(tmp_path: Path, judge: str) -> None:
    file = tmp_path / "scenario.yaml"
    head = "schema: 1\nname: trial\nbuild: {class_path: tests.zoo.models.classifier}\ntrainer: {max_epochs: 1}\n"
    file.write_text(head + f"guards:\n  - {{command: '{judge}', name: judge}}\n  - {{command: 'false'}}\n")
    assert [guard.name for guard in load(file).guards] == ["judge", "false"]
    report = faultlab.run(file, select=["loss.nan@step=4", "label.noisy@step=4"], out=tmp_path, advice=False)
    faults = {fault.id.partition("@")[0]: fault for fault in report.faults}
    (found,) = [one for one in faults["loss.nan"].detected_by if one.name == "judge"]
    assert (found.kind, found.names_cause) == ("guard", True)
    assert "exit code 1: the loss is not finite" in found.message
    assert found.step > 4
    assert not any(one.name == "judge" for fault in report.faults for one in fault.detected_by if "label" in fault.id)
    assert {alarm.name for alarm in report.baseline.false_alarms} == {"false"}

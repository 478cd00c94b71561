"""Mistakes in scenarios of training loops: each is one message, with its place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from faultlab.cli import group

NEVER_TRAINS = "import torch\n\nmodel = torch.nn.Linear(2, 1)\nprint(model(torch.zeros(1, 2)))\n"


def told(tmp_path: Path, train: str, *more: str) -> tuple[int, str]:
    file = tmp_path / "loop.yaml"
    file.write_text("\n".join(["schema: 1", "name: loop", "framework: torch", f"train: {train}", *more]) + "\n")
    done = CliRunner().invoke(
        group, ["run", str(file), "--out", str(tmp_path / "out"), "--no-advice"], standalone_mode=False
    )
    if (error := done.exception) is not None:
        return getattr(error, "exit_code", done.exit_code), str(error).replace(str(file), "loop.yaml")
    return done.return_value, done.output.replace(str(file), "loop.yaml")


@pytest.mark.parametrize(
    ("train", "message", "remedy"),
    [
        (
            "never_trains",
            "loop.yaml:4:1: no optimizer of torch's was stepped while it ran",
            "Name the script or function that builds the model and trains it",
        ),
        (
            "by_functions",
            "loop.yaml:4:1: no module was called whose parameters an optimizer holds",
            "Call the model itself, as in `model(x)`",
        ),
        (
            "in_a_subprocess",
            "no optimizer of torch's was stepped while it ran in this process: it started '",
            "trains it, in this process",
        ),
        (
            "in_another_process",
            "no optimizer of torch's was stepped while it ran in this process: it started a process that calls main",
            "trains it, in this process",
        ),
        (
            "needs_arguments",
            "loop.yaml:4:9: tests.frameworks.hand_written.needs_arguments: missing a required argument: 'rate'",
            "Give the arguments under init_args",
        ),
        ("raises", "FileNotFoundError: no such file: 'points.csv'", "It has to train to its end"),
    ],
)
def test_a_function_that_trains_nothing_here_is_an_error(train: str, message: str, remedy: str, tmp_path: Path) -> None:
    code, text = told(tmp_path, f"{{class_path: tests.frameworks.hand_written.{train}}}")
    assert (code, text.count("loop.yaml:")) == (2, 1)
    assert message in text
    assert remedy in text


def test_a_script_that_never_trains_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(NEVER_TRAINS)
    code, text = told(tmp_path, f"null\nscript: {script}")
    assert (code, text.count("loop.yaml:5:1:")) == (2, 1)
    assert "no optimizer of torch's was stepped while it ran" in text
    assert "Name the script or function that builds the model and trains it" in text


def test_what_a_script_lacks_on_its_command_line_is_said(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--data', required=True)\nparser.parse_args()\n"
    )
    code, text = told(tmp_path, f"null\nscript: {script}\narguments: [--rate, 0.1]")
    assert code == 2
    assert "loop.yaml:5:1: the script refuses its command line: the following arguments are required: --data" in text
    assert "Give its arguments under `arguments`" in text


def test_a_metric_that_is_never_reported_is_an_error(tmp_path: Path) -> None:
    code, text = told(
        tmp_path, "{class_path: tests.frameworks.hand_written.streaming}", "monitor: {metric: accuracy, mode: max}"
    )
    assert code == 2
    assert "loop.yaml:5:11: the clean run never logs 'accuracy'" in text
    assert "Return it from `train`" in text


def test_an_evaluation_that_can_not_be_called_gives_no_metric(tmp_path: Path) -> None:
    code, text = told(
        tmp_path,
        "{class_path: tests.frameworks.hand_written.streaming}",
        "evaluate: {class_path: tests.frameworks.hand_parts.evaluate_parts}",
        "monitor: {metric: val_loss, mode: min}",
    )
    assert code == 2
    assert "the clean run never logs 'val_loss'" in text
    assert text.count("loop.yaml:") == 1

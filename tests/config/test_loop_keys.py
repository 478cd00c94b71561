"""The keys of a scenario that only a training loop has, and the short forms of those that name its functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab.config.loop_parts import SCRIPT
from faultlab.config.scenario import Scenario, load
from faultlab.errors import ScenarioError


def scenario(folder: Path, *keys: str, framework: str = "torch") -> Scenario:
    file = folder / "loop.yaml"
    file.write_text("\n".join(["schema: 1", "name: loop", f"framework: {framework}", *keys]) + "\n")
    return load(file)


def test_a_script_and_its_arguments_are_a_function_that_runs_it(tmp_path: Path) -> None:
    read = scenario(tmp_path, "script: train.py", "arguments: [--epochs, 2, --rate, 0.5]")
    assert read.train is not None
    assert read.train.class_path == SCRIPT
    assert read.train.init_args == {"script": "train.py", "arguments": ["--epochs", "2", "--rate", "0.5"]}
    assert read.for_victims()["train"] == read.train.model_dump()


def test_arguments_of_the_command_take_the_place_of_the_files(tmp_path: Path) -> None:
    changed = scenario(tmp_path, "script: train.py", "arguments: [--epochs, 2]").with_arguments(["--epochs", "1"])
    assert changed.train is not None
    assert changed.train.init_args == {"script": "train.py", "arguments": ["--epochs", "1"]}


def test_arguments_for_a_function_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="use a scenario with `script`"):
        scenario(tmp_path, "train: pkg.main").with_arguments(["--epochs", "1"])


@pytest.mark.parametrize(
    ("where", "line"),
    [(("train", "init_args", "script"), 4), (("train",), 4), (("train", "init_args", "arguments"), 5)],
)
def test_an_error_of_the_script_is_shown_at_its_key(where: Any, line: int, tmp_path: Path) -> None:
    read = scenario(tmp_path, "script: train.py", "arguments: [--epochs, 2]")
    assert read.problem(where, "wrong").problems[0].line == line


@pytest.mark.parametrize(
    ("keys", "line", "message"),
    [
        ((), 1, "missing key 'train' or 'script'"),
        (("train: pkg.main", "script: train.py"), 5, "`script` can't be combined with `train`"),
        (("train: pkg.main", "arguments: [--fast]"), 5, "`arguments` are those of a script"),
        (("script: train.py", "arguments: [yes]"), 5, "expected strings and numbers, got True"),
        (("script: 3",), 4, "script: expected a string, got 3"),
        (("evaluate: 3", "script: train.py"), 4, "evaluate: expected a mapping, got 3"),
    ],
)
def test_a_wrong_key_is_one_message_with_its_place(
    keys: tuple[str, ...], line: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as raised:
        scenario(tmp_path, *keys)
    (problem,) = raised.value.problems
    assert problem.line == line
    assert message in problem.message


def test_a_script_without_the_framework_is_told_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as raised:
        scenario(tmp_path, "module: {class_path: pkg.Lit}", "script: train.py", framework="lightning")
    (problem,) = raised.value.problems
    assert (problem.line, problem.remedy) == (5, "Add `framework: torch`, or remove `script`.")


@pytest.mark.parametrize("path", ["pkg.train.part", "pkg.train:part"])
def test_a_function_is_named_by_its_path_alone(path: str, tmp_path: Path) -> None:
    read = scenario(tmp_path, f"train: {path}", f"evaluate: {path}", f"step: {path}")
    assert read.train is not None
    assert read.evaluate is not None
    assert [read.train.class_path, read.evaluate.class_path, read.step] == 3 * ["pkg.train.part"]

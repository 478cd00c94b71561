"""Mutants of the code of a training loop: it is recognized although they move its lines and change its loaders."""

from __future__ import annotations

import json
import linecache
import os
import sys
import textwrap
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from torch import nn

from faultlab.core.class_paths import path_of
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.roots import Roots
from faultlab.injection.mutant_lines import line_of
from tests import warm

ROOT = Path(__file__).parents[2]
MUTATED = """
_mutmut_mutated = None


def x_train__mutmut_orig(note):
    made = dict(
        rate=1,
        size=2,
    )
    note(made)
    for _ in [1]:
        note(made)


def x_train__mutmut_1(note):
    made = dict(
        size=2,
    )
    note(made)
    for _ in [1]:
        note(made)


def x_train__mutmut_2(note):
    made = None
    note(made)
    for _ in [2]:
        note(made)


class Fitter:
    def xǁFitterǁfit__mutmut_orig(self, note):
        first = (
            1
        )

        def inner():
            note(first)

        inner()

    def xǁFitterǁfit__mutmut_1(self, note):
        first = None

        def inner():
            note(first)

        inner()


def outside(note):
    note(None)
"""


@pytest.fixture
def mutated(tmp_path: Path) -> Any:
    file = tmp_path / "mutated.py"
    file.write_text(MUTATED)
    module = ModuleType("mutated")
    exec(compile(MUTATED, str(file), "exec"), vars(module))
    linecache.checkcache()
    return module


def noted(function: Any, *arguments: Any) -> list[int]:
    """The lines from which a function calls what it is given, as those of the function without a change."""
    lines: list[int] = []

    def note(value: Any) -> None:
        frame: FrameType | None = sys._getframe(1)
        assert frame is not None
        lines.append(line_of(frame))

    function(*arguments, note)
    return lines


def test_a_line_of_a_mutant_is_that_of_the_original(mutated: Any) -> None:
    original = noted(mutated.x_train__mutmut_orig)
    assert original == [MUTATED.splitlines().index("    note(made)") + 1, original[0] + 2]
    assert noted(mutated.x_train__mutmut_1) == original
    assert noted(mutated.x_train__mutmut_2) == original


def test_so_is_a_line_of_a_function_within_a_mutated_method(mutated: Any) -> None:
    fitter = mutated.Fitter()
    original = noted(vars(mutated.Fitter)["xǁFitterǁfit__mutmut_orig"], fitter)
    assert noted(vars(mutated.Fitter)["xǁFitterǁfit__mutmut_1"], fitter) == original


def test_code_without_mutants_keeps_its_lines(mutated: Any) -> None:
    assert noted(mutated.outside) == [MUTATED.splitlines().index("    note(None)") + 1]
    assert noted(lambda note: note(None)) == [sys._getframe().f_lineno]


TRAIN, VALIDATION = "train.py:10 64 8 RandomSampler False", "train.py:10 16 16 SequentialSampler False"


@pytest.mark.parametrize(
    ("key", "stage", "counts"),
    [
        (TRAIN, "train", True),
        (VALIDATION, "validate", False),
        ("train.py:10 64 9 RandomSampler False", "train", True),
        ("train.py:10 63 8 SequentialSampler False", "train", True),
        ("train.py:10 17 16 SequentialSampler False", "validate", False),
        ("train.py:20 64 8 RandomSampler False", "validate", False),
    ],
    ids=["same", "validation", "batch size", "no shuffling", "validation data", "another line"],
)
def test_a_loader_with_other_arguments_is_the_one_of_its_line_that_is_most_like_it(
    key: str, stage: str, counts: bool
) -> None:
    layout = Layout((("Net", 1),), (TRAIN,), (VALIDATION,))
    assert (layout.stage(key), layout.counts(key)) == (stage, counts)


def test_a_module_is_found_by_its_optimizer_where_a_loop_makes_more_of_its_class() -> None:
    layers = [nn.Linear(1, 1) for _ in range(3)]
    roots = Roots([(path_of(nn.Linear), 2)])
    for layer in layers:
        roots.constructed(layer, path_of(nn.Linear))
    assert roots.module is layers[1]
    roots.confirm({id(parameter) for parameter in layers[1].parameters()})
    assert roots.module is layers[1]
    roots.confirm({id(parameter) for parameter in layers[2].parameters()})
    assert roots.module is layers[2]
    # A fault may have taken away what the optimizer holds.
    roots.confirm({1, 2, 3})
    assert roots.module is layers[2]


LOOP = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def data():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))


def main(epochs=2):
    loader = DataLoader(data(), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=0.1,
    )
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if not loss < 1:
        raise ValueError("nothing is learned")
    return {"val_loss": loss.item()}


if __name__ == "__main__":
    val_loss = main()["val_loss"]
"""
FUNCTION = "{class_path: fit.main}"
SCRIPT = "{class_path: faultlab.targets.loop_script.run, init_args: {script: fit.py}}"


@pytest.mark.nightly(reason="two mutations of a project; the quick ring has how a loop is recognized in its mutants")
@pytest.mark.parametrize("train", [FUNCTION, SCRIPT], ids=["function", "script"])
def test_mutants_of_a_loop_are_judged_by_its_training(train: str, tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(textwrap.dedent(LOOP))
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    (tmp_path / "fit.yaml").write_text(
        f"schema: 1\nname: fit\nframework: torch\ntrain: {train}\nmonitor: {{metric: val_loss, mode: min}}\n"
    )
    command = ["-m", "faultlab", "mutate", "fit.yaml", "--function", "main", "--json", "--no-advice"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = warm.run(command, imports="command", cwd=tmp_path, env=environment)
    (report,) = json.loads(done.stdout)
    found = {(mutant["before"], mutant["after"]): mutant for mutant in map(described, report["faults"])}
    assert report["gate"]["reasons"] == [], done.stderr
    # Lines above the loop are gone, and the loop is recognized.
    without = found["lr=0.1,", ""]
    assert (without["status"], without["harm"]["harmful"]) == ("detected", True)
    # The batches of the training are another loader's.
    assert found["8", "9"]["status"] == "silent"
    assert found["8", "9"]["harm"]["metric"] == "val_loss"
    by = {kind for mutant in found.values() for kind in mutant["by"]}
    assert by <= {"module", "framework"}
    assert not (tmp_path / "mutants").exists()


def described(mutant: dict[str, Any]) -> dict[str, Any]:
    source = mutant["mutant"]
    return {**mutant, "before": source["before"], "after": source["after"],
            "by": [found["kind"] for found in mutant["detected_by"]]}  # fmt: skip

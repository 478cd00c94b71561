"""`faultlab init` on training loops without a Trainer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from faultlab.cli import group
from faultlab.config.scenario import load
from faultlab.discovery import asked_ranks, loops
from faultlab.errors import UsageError
from tests.frameworks import hand_written
from tests.targets.test_loop_script import SCRIPT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script and a module whose functions train, and the process in it."""
    (tmp_path / "train.py").write_text(SCRIPT)
    shutil.copy(hand_written.__file__, tmp_path / "hand_written.py")
    # Which imports the scenarios of this repository.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(target: str, *given: str) -> loops.LoopFound:
    loop = loops.find(target, given)
    assert loop is not None
    return loop


def written(loop: loops.LoopFound, folder: Path) -> tuple[dict[str, Any], Any]:
    answer = loops.tried(loop, 120)
    file = folder / "scenario.yaml"
    file.write_text(loops.render(loop, answer, "faultlab init"))
    load(file)
    return answer, yaml.safe_load(file.read_text())


def test_a_script_is_named_with_its_arguments(project: Path) -> None:
    answer, scenario = written(found("train.py", "--rate", "0.5"), project)
    assert (scenario["script"], scenario["arguments"]) == ("train.py", ["--rate", "0.5"])
    assert scenario["monitor"] == {"metric": "accuracy", "mode": "max"}
    assert answer["steps"] == 8
    assert sorted(path.name for path in project.iterdir()) == ["hand_written.py", "scenario.yaml", "train.py"]


def test_a_function_is_named_with_those_that_evaluate_and_step(project: Path) -> None:
    answer, scenario = written(found("hand_written.py"), project)
    assert scenario["train"] == {"class_path": "hand_written.main"}
    assert scenario["evaluate"] == {"class_path": "hand_written.evaluate"}
    assert scenario["step"] == "hand_written.train_step"
    assert scenario["monitor"] == {"metric": "val_loss", "mode": "min"}
    assert (answer["root"], answer["steps"]) == ("hand_written.Net", 20)


@pytest.mark.parametrize(
    ("signature", "resume"),
    [
        ("epochs=2, resume=False", "resume"),
        ("epochs=2, *, continue_training: bool = False", "continue_training"),
        ("resume=None", ""),
        ("epochs=2", ""),
    ],
)
def test_a_switch_that_continues_a_training_is_named(signature: str, resume: str, project: Path) -> None:
    (project / "mine.py").write_text(f"def train({signature}):\n    loss.backward()\n")
    loop = found("mine.py")
    assert loops.parts(loop).get("resume") == ({"init_args": {resume: True}} if resume else None)


def test_a_function_may_be_chosen(project: Path) -> None:
    assert found("hand_written.py:accumulating").train == {"class_path": "hand_written.accumulating"}


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("loss.backward()\ndef helper(): ...", "loop.py:helped", "has no function 'helped'"),
        ("def optimize(model):\n    loss.backward()", "loop.py", "trains nothing when it is run"),
        (
            "from fastai.vision.all import *\nx.backward()",
            "loop.py",
            "fastai, which has optimizers of its own",
        ),
    ],
)
def test_what_can_not_be_broken_is_an_error_that_says_why(text: str, target: str, message: str, project: Path) -> None:
    (project / "loop.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        loops.find(target, ())


def test_arguments_for_a_function_are_refused_since_it_has_no_command_line(project: Path) -> None:
    with pytest.raises(UsageError, match=r"faultlab init hand_written\.py -- --epochs 2"):
        loops.find("hand_written.py:main", ("--epochs", "2"))


@pytest.mark.parametrize("text", ["import pytorch_lightning\nloss.backward()", "print('no training')"])
def test_other_files_are_not_loops(text: str, project: Path) -> None:
    (project / "loop.py").write_text(text)
    assert loops.find("loop.py", ()) is None
    assert loops.find("package.module:LitModel", ()) is None


def test_a_script_that_needs_arguments_is_an_error_that_names_them(project: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.py: the script refuses its command line: .* required: --rate"):
        loops.tried(found("train.py"), 120)


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        ({"epoch": 1.0, "accuracy": 0.5, "val_loss": 0.3}, {"metric": "val_loss", "mode": "min"}),
        ({"correct": 474.0, "accuracy": 0.5}, {"metric": "accuracy", "mode": "max"}),
        ({"train_loss": 0.1, "rmse": 0.4}, {"metric": "rmse", "mode": "min"}),
        ({"acc_train": 0.9, "loss_val": 0.3, "acc_val": 0.8}, {"metric": "loss_val", "mode": "min"}),
        ({"train_acc": 0.9, "val_rmse": 0.3}, {"metric": "val_rmse", "mode": "min"}),
        ({"epochs": 2.0, "average_reward": 64.0}, {"metric": "average_reward", "mode": "max"}),
        ({"epochs": 2.0, "batch_size": 64.0}, None),
        ({"gradient_accumulation_steps": 2.0, "previous": 1.0}, None),
        ({"gradient_accumulation_steps": 2.0, "mean_iou": 0.7}, {"metric": "mean_iou", "mode": "max"}),
    ],
)
def test_the_metric_that_tells_most_is_monitored(metrics: dict[str, float], chosen: dict[str, str] | None) -> None:
    assert loops.monitor(metrics) == chosen


def test_the_command_writes_a_scenario_for_a_script_without_lightning(project: Path) -> None:
    done = CliRunner().invoke(group, ["init", "train.py", "--json", "--", "--rate", "0.5"])
    assert done.exit_code == 0, done.output
    plain = json.loads(done.stdout)
    assert plain["scenario"] == "scenarios/train.yaml"
    assert "Harm is measured by accuracy, which it returns or logs." in plain["notes"]
    assert load(project / "scenarios" / "train.yaml").framework == "torch"
    again = CliRunner().invoke(group, ["init", "train.py", "--", "--rate", "0.5"])
    assert isinstance(again.exception, UsageError)
    assert "--force" in str(again.exception)


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("loss.backward()", 1),
        ("dist.init_process_group('gloo')", 2),
        ("# torchrun --nproc_per_node=3 train.py", 3),
        ("# accelerate launch --num_processes 4 train.py", 4),
        ("mp.spawn(work, args=(1,), nprocs=64)", 4),
        ("world_size = 4\n", 1),
    ],
)
def test_the_source_of_a_loop_tells_its_ranks(text: str, ranks: int) -> None:
    assert asked_ranks.of(["import torch", text]) == ranks


RANKED = """
import sys
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group(sys.argv[1] if dist.is_torchelastic_launched() or sys.argv[2:] else "gloo")
model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    loss = model(torch.ones(4, 2)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
if dist.get_rank() == 0:
    print(f"val_loss {loss.item():.4f}")
dist.destroy_process_group()
"""


@pytest.mark.nightly(reason="two trainings of two ranks; the quick ring has how ranks are recognized")
def test_a_script_for_several_ranks_is_tried_on_them(project: Path) -> None:
    (project / "ranked.py").write_text(RANKED)
    answer, scenario = written(found("ranked.py"), project)
    assert (scenario["ranks"], answer["steps"]) == (2, 4)
    assert scenario["monitor"] == {"metric": "val_loss", "mode": "min"}
    assert "It trains on 2 ranks, each in a process of its own, as under torchrun." in loops.findings(answer)


SELF_MADE = """
import os
import torch
from torch import nn

if "RANK" in os.environ:
    torch.distributed.init_process_group("nccl")
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    loss = model(torch.ones(4, 2)).square().mean()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.nightly(reason="three trainings in processes of their own; the quick ring has how ranks are recognized")
def test_a_script_whose_ranks_need_gpus_is_tried_by_itself(project: Path) -> None:
    (project / "ranked.py").write_text(SELF_MADE)
    answer, scenario = written(found("ranked.py"), project)
    assert "ranks" not in scenario
    (told,) = [one for one in loops.findings(answer) if "one process" in one]
    assert "On 2 ranks: ranked.py: the clean run ends on rank" in told
    assert "NCCL" in told


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        (
            "own.py",
            "def main(rate, *, epochs):\n    loss.backward()\n",
            "own.py trains nothing when it is run, and its",
        ),
        ("own.py:main", "def main(rate, *, epochs):\n    loss.backward()\n", "own.py:main needs arguments"),
    ],
)
def test_a_function_that_needs_arguments_is_shown_with_them_in_a_scenario(
    target: str, text: str, message: str, project: Path
) -> None:
    Path("own.py").write_text(text)
    with pytest.raises(UsageError) as raised:
        loops.find(target, ())
    assert message in str(raised.value)
    lines = [line.strip() for line in str(raised.value).splitlines()[1:]]
    assert yaml.safe_load("\n".join(lines))["train"] == {
        "class_path": "own.main",
        "init_args": {"rate": "...", "epochs": "..."},
    }


def test_a_file_without_functions_that_trains_nothing_is_told_so(project: Path) -> None:
    Path("own.py").write_text("class Own:\n    def fit(self):\n        loss.backward()\n")
    with pytest.raises(UsageError, match="Let it train when it is run"):
        loops.find("own.py", ())


def test_a_script_that_starts_the_one_that_trains_is_told_which(project: Path) -> None:
    Path("starts.py").write_text("import subprocess, sys\nsubprocess.run([sys.executable, 'train.py'])\n")
    with pytest.raises(UsageError, match=r"it started '.*train\.py'"):
        loops.tried(found("starts.py"), 120)

"""A training script without a Trainer as a target: broken as it is, with its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.report import Status
from faultlab.errors import ScenarioError
from faultlab.targets import loop_script

SCRIPT = """
import argparse
import sys
import torch
from click.testing import CliRunner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, required=True)
arguments = parser.parse_args()
points = torch.randn(64, 4)
loader = DataLoader(TensorDataset(points, (points[:, 0] > 0).long()), 16)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), arguments.rate)

if __name__ == "__main__":
    for epoch in range(2):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(batch), labels)
            loss.backward()
            optimizer.step()
    accuracy = float((model(points).argmax(1) == (points[:, 0] > 0)).float().mean())
    torch.save(model.state_dict(), "model.pt")
    sys.exit(0)
"""


def scripted(tmp_path: Path, arguments: str, script: str = "train.py") -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "mine.yaml").write_text(
        f"schema: 1\nname: mine\nframework: torch\nscript: {tmp_path / script}\narguments: {arguments}\n"
    )
    return tmp_path / "mine.yaml"


def test_a_script_is_broken_as_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = scripted(tmp_path, "[--rate, '0.5']")
    report = api.run(load(file), select=["loss.nan", "layer.*"], out=tmp_path / "out", advice=False)
    assert report.reasons == []
    assert report.baseline.steps == 8
    assert "accuracy" in report.baseline.metrics
    nan = next(fault for fault in report.faults if fault.mode == "loss.nan")
    assert (nan.status, nan.first_step) == (Status.SILENT, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "out", "train.py"]


@pytest.mark.parametrize(
    ("arguments", "script", "message"),
    [("[]", "train.py", "arguments are required: --rate"), ("[--rate, '0.5']", "trian.py", "no such script")],
)
def test_a_script_that_can_not_run_is_an_error(arguments: str, script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=message):
        api.run(load(scripted(tmp_path, arguments, script)), out=tmp_path / "out", advice=False)


def test_the_settings_of_a_script_are_none_of_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "score_every = 2\nn, shift = 3, -1.5\nrate: float = 0.1\nbest = 0\naccuracy = 0.5 + n / 10\n"
        "for step in range(n):\n    best = max(best, step)\n"
        "lowest = 9\ndef end():\n    global lowest\n    lowest = 1\nend()\n"
    )
    assert loop_script.run(str(tmp_path / "train.py")) == {"best": 2, "accuracy": 0.8, "step": 2, "lowest": 1}


def test_the_times_of_a_script_are_none_of_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import time\nfrom time import perf_counter\nt0 = time.time()\nloss = 0.0\n"
        "for step in range(3):\n    loss += step\n    taken = time.time() - t0\n    speed = step / (taken or 1)\n"
        "began: float = perf_counter()\n"
    )
    assert loop_script.run(str(tmp_path / "train.py")) == {"loss": 3.0, "step": 2}

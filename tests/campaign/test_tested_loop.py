"""Campaigns of training loops whose scenario names the user's tests, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import faultlab
from faultlab.core.report import Report, Status

TRAIN = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return self.body(x)


def loaders():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = (x.sum(1) > 0).long()
    return DataLoader(TensorDataset(x[:64], y[:64]), 8, shuffle=True), DataLoader(TensorDataset(x[64:], y[64:]), 32)


def fit(model, loader, epochs=3):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            assert torch.isfinite(loss), "the loss is not finite"
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@torch.no_grad()
def accuracy(model):
    model.eval()
    return sum(int((model(x).argmax(1) == y).sum()) for x, y in loaders()[1]) / 32


def main():
    torch.manual_seed(0)
    return {"accuracy": accuracy(fit(Net(), loaders()[0]))}


if __name__ == "__main__":
    accuracy = main()["accuracy"]
"""
TESTS = """
import torch
from train import Net, accuracy, fit, loaders


def test_it_learns():
    torch.manual_seed(0)
    assert accuracy(fit(Net(), loaders()[0])) > 0.8


def test_its_shape():
    assert Net()(torch.zeros(3, 4)).shape == (3, 2)


def test_that_is_red():
    assert 0
"""
SELECT = ["loss.nan", "gradient.negated", "loss.offset", "optimizer.double-step", "layer.batchnorm-frozen"]
FUNCTION = "{class_path: train.main}"
SCRIPT = "{class_path: faultlab.targets.loop_script.run, init_args: {script: train.py}}"


def campaign(folder: Path, train: str, more: str = "") -> Report:
    for name, text in {"train.py": TRAIN, "test_train.py": TESTS, "setup.py": ""}.items():
        (folder / name).write_text(text)
    (folder / "mine.yaml").write_text(
        f"schema: 1\nname: mine\nframework: torch\ntrain: {train}\ntests: [test_train.py]\n"
        f"monitor: {{metric: accuracy, mode: max}}\ngate: {{false_alarms: 1}}\n{more}"
    )
    return faultlab.run(folder / "mine.yaml", select=SELECT, out=folder / "reports", advice=False)


@pytest.mark.parametrize(
    "train",
    [
        FUNCTION,
        pytest.param(SCRIPT, marks=pytest.mark.nightly(reason="a script, whose module has another name than in the tests")),
    ],
    ids=["function", "script"],
)
def test_one_report_joins_the_loops_checks_and_the_tests(
    train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = campaign(tmp_path, train)
    assert report.reasons == []
    learns = "test_train.py::test_it_learns"
    found = {fault.mode: fault for fault in report.faults}
    assert {(one.kind, one.name) for one in found["loss.nan"].detected_by} == {("module", "fit"), ("module", learns)}
    assert [(one.kind, one.name) for one in found["gradient.negated"].detected_by] == [("test", learns)]
    assert found["loss.offset"].status is Status.SILENT
    assert found["optimizer.double-step"].status is Status.SILENT
    assert found["layer.batchnorm-frozen"].status is Status.NOT_APPLICABLE
    (alarm,) = report.baseline.false_alarms
    assert (alarm.kind, alarm.name) == ("test", "test_train.py::test_that_is_red")
    assert report.passed

"""Loops that other frameworks run: Accelerate, Fabric, Ignite and skorch, all as `framework: torch`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.report import Report, Status
from faultlab.errors import TargetError
from faultlab.frameworks.loops.observed_run import observe
from faultlab.frameworks.torch.wrappers import unwrapped

ROOT = Path(__file__).parents[2]
SELECTED = (
    "batch.none@step=3",
    "forward.nan@step=2",
    "gradient.doubled",
    "label.shuffled",
    "layer.dropout-off",
    "loader.unshuffled",
    "loss.negated@step=4",
    "mode.left-eval-before-fit",
    "optimizer.drops-update",
    "weights.nan@step=5",
)


def campaign(scenario: Path, out: Path) -> Report:
    return api.run(load(scenario), select=list(SELECTED), out=out, advice=False)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return campaign(ROOT / "scenarios/digits/loop.yaml", tmp_path_factory.mktemp("plain"))


MORE = pytest.mark.nightly(reason="one more framework under the same faults; the quick ring has accelerate and skorch")


@pytest.mark.parametrize(
    "name", ["accelerate", pytest.param("fabric", marks=MORE), pytest.param("ignite", marks=MORE), "skorch"]
)
def test_the_same_faults_end_as_in_the_plain_loop_and_in_their_own_step(
    name: str, by_hand: Report, tmp_path: Path
) -> None:
    pytest.importorskip({"fabric": "lightning.fabric"}.get(name, name))
    report = campaign(ROOT / f"benchmarks/digits_by/{name}.yaml", tmp_path)
    expected = {fault.id: (fault.status, fault.first_step) for fault in by_hand.faults}
    found = {fault.id: (fault.status, fault.first_step) for fault in report.faults}
    assert Status.NOT_APPLICABLE not in {status for status, _ in found.values()}
    assert found == expected
    assert report.baseline.deterministic


def test_wrappers_of_devices_and_compilers_are_looked_through() -> None:
    model = nn.Linear(2, 2)
    assert unwrapped(nn.DataParallel(torch.compile(model))) is model
    assert unwrapped(nn.Sequential(model))[0] is model, "a container of the user's is no wrapper"


def test_a_framework_with_its_own_optimizers_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastai", ModuleType("fastai"))
    with pytest.raises(TargetError) as ended:
        observe(lambda: None, [])
    assert "fastai has optimizers of its own" in ended.value.remedy

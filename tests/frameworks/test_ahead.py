"""Batches that are fetched before their step begins, by a loop, by Accelerate's loaders or by a Trainer."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from faultlab import api
from faultlab.campaign import plan
from faultlab.catalogue import index
from faultlab.config.scenario import load
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.report import Report
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops import trainers
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.observed_run import observe

ROOT = Path(__file__).parents[2]
SIZE = 4


def row_fetched(row: int) -> None:
    """Is told the number of a row that is fetched."""


def rows_trained(rows: list[int]) -> None:
    """Is told the numbers of the rows that are trained on."""


class Rows(Dataset[Any]):
    """Rows that hold their own number, and tell when they are fetched."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        row_fetched(row)
        return {"points": torch.tensor([float(row)]), "labels": torch.tensor(row % 2)}


class Scores(nn.Module):
    """Tells which rows it is trained on, and computes its loss, as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, points: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        rows_trained(points.long().flatten().tolist())
        return {"loss": F.cross_entropy(self.head(points / 24), labels)}


def _parts() -> tuple[Scores, torch.optim.Optimizer, DataLoader[Any]]:
    model = Scores()
    return model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(Rows(), SIZE, shuffle=True)


def by_hand() -> None:
    """Fetches two batches ahead."""

    def ahead(batches: Iterator[Any]) -> Iterator[Any]:
        waiting = [next(batches), next(batches)]
        for batch in batches:
            waiting.append(batch)
            yield waiting.pop(0)
        yield from waiting

    model, optimizer, loader = _parts()
    for _ in range(2):
        for batch in ahead(iter(loader)):
            optimizer.zero_grad()
            model(**batch)["loss"].backward()
            optimizer.step()


def by_accelerate(batches: int | None = None) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer, loader = accelerator.prepare(*_parts())
    for _ in range(2):
        for batch in islice(loader, batches):
            optimizer.zero_grad()
            accelerator.backward(model(**batch)["loss"])
            optimizer.step()


def left_early() -> None:
    """Leaves each epoch with a batch that was fetched and that no step trains on."""
    by_accelerate(batches=3)


def by_trainer(updates: int = -1) -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        "out", report_to="none", use_cpu=True, save_strategy="no", num_train_epochs=2, max_steps=updates,
        per_device_train_batch_size=SIZE, gradient_accumulation_steps=3,
    )  # fmt: skip
    Trainer(Scores(), arguments, train_dataset=Rows()).train()


def _followed(train: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, list[int]], ...]:
    """Return the rows that were fetched and those that were trained on, for each step."""
    layout = observe(train, [])
    clock, fetched, trained = LoopClock(), defaultdict(list), defaultdict(list)
    loop = trainers.loop_of(layout)(layout, Trajectory(), clock.tick, clock.take_back)
    clock.follow(loop)
    monkeypatch.setattr(f"{__name__}.row_fetched", lambda row: fetched[clock.step].append(row))
    monkeypatch.setattr(f"{__name__}.rows_trained", lambda rows: trained[clock.step].extend(rows))
    # A step is known before its batch is fetched: there a fault may begin.
    clock.on_step.append(lambda step: fetched[step].clear())
    clock.on_dropped.append(lambda step: fetched.pop(step, None))
    with Patches() as patches:
        clock.attach(patches)
        train()
    return dict(fetched), dict(trained)


FORMS = {
    by_hand: ("torch", 12),
    by_accelerate: ("accelerate", 12),
    left_early: ("accelerate", 6),
    by_trainer: ("transformers", 12),
}


@pytest.mark.parametrize("train", FORMS, ids=lambda train: train.__name__)
def test_a_sample_belongs_to_the_step_that_trains_on_it(
    train: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, steps = FORMS[train]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    fetched, trained = _followed(train, monkeypatch)
    assert list(trained) == list(range(steps))
    assert {step: fetched[step] for step in trained} == trained


def campaign(scenario: Path, out: Path, *select: str) -> Report:
    return api.run(load(scenario), select=list(select), out=out, advice=False)


@pytest.mark.nightly(reason="two whole campaigns; the quick ring shows that samples belong to their steps")
def test_faults_of_the_dataset_end_with_accelerate_as_in_the_plain_loop_and_in_their_own_step(tmp_path: Path) -> None:
    """The loop leaves its first epoch after step 7: another batch is fetched there for step 8, in vain."""
    pytest.importorskip("accelerate")
    faults = ["dataset.item-raises@step=3", "dataset.item-none@step=8", "dataset.item-stop-iteration@step=8",
              "dataset.item-stop-iteration@step=11"]  # fmt: skip
    files = (ROOT / "scenarios/digits/loop.yaml", ROOT / "benchmarks/digits_by/accelerate.yaml")
    reports = [campaign(file, tmp_path / file.stem, *faults) for file in files]
    plain, accelerated = (
        {fault.id: (fault.status.value, fault.first_step, fault.activations) for fault in report.faults}
        for report in reports
    )
    assert plain["dataset.item-stop-iteration@step=8"] == ("silent", 8, 1)
    assert accelerated == plain


AVERAGED = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
points = torch.randn(24, 2)
loader = DataLoader(TensorDataset(points, points.sum(1, keepdim=True)), 8)
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    total = count = 0
    for x, y in loader:
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.item() * len(x), count + len(x)
    print(f"epoch {epoch} loss {total / count:.4f}")
"""


def test_an_error_before_the_step_whose_batch_was_broken_detects_the_fault(tmp_path: Path) -> None:
    """An epoch without a batch ends in a division by zero, while the step that the batch was for never begins."""
    (tmp_path / "averaged.py").write_text(AVERAGED)
    scenario = tmp_path / "averaged.yaml"
    scenario.write_text(
        "schema: 1\nname: averaged\nframework: torch\n"
        "train: {class_path: faultlab.targets.loop_script.run, init_args: {script: averaged.py}}\n"
        "metrics: {stdout: 'loss (?P<loss>[0-9.]+)'}\n"
    )
    (fault,) = campaign(scenario, tmp_path / "reports", "dataset.item-stop-iteration@step=3").faults
    assert (fault.status.value, fault.first_step) == ("detected", 3), fault.reason
    (detection,) = fault.detected_by
    assert "ZeroDivisionError" in detection.message
    assert (detection.step, detection.latency) == (3, 0)


@pytest.mark.parametrize(("step", "place"), [(5, 5), (0, 0)])
def test_a_fault_begins_at_the_latest_before_its_batch_is_fetched(step: int, place: int) -> None:
    fault = Fault.parse(f"input.nan@step={step}")
    assert plan.place(fault, index.modes()["input.nan"], TargetProfile(steps=10)) == place

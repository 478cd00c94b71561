"""The doctor on scripts whose mistake is beside or after their first training; their healthy twins are well."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, WRONG, Finding
from faultlab.engines import Engine
from tests.patients.blind.case import Case
from tests.patients.blind.fifth import CASES as FIFTH
from tests.patients.blind.fourth import CASES as FOURTH

_NIGHTLY = pytest.mark.nightly(reason="one loop runs quick; each takes several trainings")
_EXTRAS = {
    "hf": pytest.mark.skipif(find_spec("transformers") is None, reason="the extra `hf` is not installed"),
    "ignite": pytest.mark.skipif(find_spec("ignite") is None, reason="ignite is not installed"),
}
_NAMED = ("hf_names", "lightning_folds", "lightning_profiles", "lightning_tumours", "lightning_two_heads",
          "loop_diabetes", "loop_docstrings", "loop_transfer", "hf_spelled", "ignite_best", "lightning_libraries",
          "lightning_two_sizes", "lightning_typist", "loop_half", "loop_milestones", "loop_noisy_labels",
          "loop_number_words", "loop_oversampled", "loop_poly", "loop_screening", "loop_word_vectors")  # fmt: skip
_BEYOND = [
    pytest.param(
        one, id=one.name, marks=[_NIGHTLY, *(mark for name, mark in _EXTRAS.items() if one.name.startswith(name))]
    )
    for one in [*FOURTH, *FIFTH]
    if one.name in _NAMED
]

_LOOP = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
x = torch.randn(400, 6)
y = x[:, :3].argmax(1)
data = TensorDataset(x, y)
train, val = random_split(data, [300, 100])
net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)


def accuracy(rows):
    net.eval()
    with torch.no_grad():
        right = sum((net(a).argmax(1) == b).sum().item() for a, b in DataLoader(rows, 50))
    return right / len(rows)


for epoch in range(4):
    net.train()
    for inputs, labels in DataLoader(train, 30, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    print("val_accuracy", accuracy(val))
{TEST}
"""
_AGAIN = "_, test = random_split(data, [300, 100])\nprint('test_accuracy', accuracy(test))"
_HELD_OUT = (
    "fresh = torch.randn(100, 6)\nprint('test_accuracy', accuracy(TensorDataset(fresh, fresh[:, :3].argmax(1))))"
)


def _examined(folder: Path, text: str, engine: Engine) -> list[Finding]:
    script = folder / "train.py"
    script.write_text(text)
    return [one for one in examine(str(script), 120, engine=engine) if one.verdict != OK]


def test_a_test_set_that_is_drawn_again_is_named_first(tmp_path: Path, engine: Engine) -> None:
    first = _examined(tmp_path, _LOOP.replace("{TEST}", _AGAIN), engine)[0]
    assert first.check == "samples of the stages"
    assert "were trained on: the data was split again" in first.what
    assert "manual_seed" in first.remedy


@_NIGHTLY
def test_a_test_set_of_its_own_is_healthy(tmp_path: Path, engine: Engine) -> None:
    assert _examined(tmp_path, _LOOP.replace("{TEST}", _HELD_OUT), engine) == []


@pytest.mark.parametrize("case", _BEYOND)
def test_what_the_first_training_does_not_show_is_named(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, case.script(False), engine)
    assert case.named_early(found), found


@pytest.mark.parametrize("case", _BEYOND)
def test_nothing_is_wrong_with_its_remedied_twin(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, case.script(True), engine)
    assert [one for one in found if one.verdict == WRONG] == []
    assert not case.named_early(found)

"""Attributes that are set on torch's objects, which do not read them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.doctor.whole.assigned import Assigned, SharedChanges
from faultlab.doctor.whole.effects import EFFECTS


def _run(folder: Path, text: str) -> tuple[Assigned, SharedChanges, dict[str, Any]]:
    """Run code as a user's file; return what was followed, and its variables."""
    file = folder / "train.py"
    file.write_text(textwrap.dedent(text))
    code = UserCode(frozenset(), (str(folder),))
    assigned, shared = Assigned(code), SharedChanges(code)
    names: dict[str, Any] = {"__name__": "__main__", "torch": torch, "nn": nn, "DataLoader": DataLoader}
    names.update(Dataset=Dataset, Subset=Subset, random_split=random_split)
    with Patches() as patches:
        assigned.attach(patches)
        shared.attach(patches)
        exec(compile(file.read_text(), str(file), "exec"), names)
    return assigned, shared, names


_VAIN = {
    "net = nn.Sequential(nn.Linear(2, 2))\nnet[0].requires_grad = False": "plain attribute without effect",
    "net = nn.Linear(2, 2)\no = torch.optim.SGD(net.parameters(), lr=1.0)\no.lr = 0.1": "Set it in the groups",
    "loader = DataLoader([1, 2])\nloader.shuffle = True": "never reads it",
    "net = nn.Linear(2, 2)\nnet.out_features = 5": "weight keeps its shape",
    "net = nn.Sequential(nn.Dropout())\nnet.training = False": "does not reach the layers inside",
}
_EFFECTIVE = [
    "net = nn.Linear(2, 2)\nnet.requires_grad_(False)",
    "net = nn.Linear(2, 2)\nnet.weight.requires_grad = False",
    "net = nn.Linear(2, 2)\no = torch.optim.SGD(net.parameters(), lr=1.0)\no.param_groups[0]['lr'] = 0.1",
    "net = nn.Dropout(0.5)\nnet.p = 0.1\nnet.training = False",
    "net = nn.Linear(2, 2)\nnet.bias = None\nnet.weight = nn.Parameter(torch.ones(5, 2))\nnet.out_features = 5",
    "class Net(nn.Module):\n    pass\nnet = Net()\nnet.best = 1",
]


@pytest.mark.parametrize("text", _VAIN)
def test_an_attribute_that_nobody_reads_is_found(text: str, tmp_path: Path) -> None:
    assigned, _, _names = _run(tmp_path, text)
    (found,) = EFFECTS.run({"whole": {"assigned": assigned.facts()}})
    assert _VAIN[text] in f"{found.what} {found.remedy}"


@pytest.mark.parametrize("text", _EFFECTIVE)
def test_attributes_that_have_an_effect_are_not_found(text: str, tmp_path: Path) -> None:
    assigned, _, _names = _run(tmp_path, text)
    assert assigned.facts() == []


_SPLIT = """
class Images(Dataset):
    transform = "augmenting"
    def __len__(self):
        return 8
train, val = {MADE}
val.dataset.transform = "plain"
"""


@pytest.mark.parametrize(
    ("made", "found"),
    [("random_split(Images(), [4, 4])", 1), ("Subset(Images(), range(4)), Subset(Images(), range(4, 8))", 0)],
)
def test_a_transform_that_is_set_on_both_splits_at_once_is_found(made: str, found: int, tmp_path: Path) -> None:
    _, shared, names = _run(tmp_path, _SPLIT.replace("{MADE}", made))
    assert len(shared.facts([names["train"]], [names["val"]])) == found


def test_the_classes_are_as_they_were_afterwards(tmp_path: Path) -> None:
    _run(tmp_path, "x = 1")
    assert "__setattr__" not in vars(torch.optim.Optimizer)
    assert "__setattr__" not in vars(Dataset)

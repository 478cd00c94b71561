"""Statements without effect, branches that never ran and best weights that no one loads, in the text of a script."""

from __future__ import annotations

import ast
import textwrap

import pytest

from faultlab.doctor.whole import kept, unrun, vain


def _facts(text: str, kind: str) -> list[str]:
    return [one["name"] for one in vain.facts(ast.parse(textwrap.dedent(text)))[kind]]


@pytest.mark.parametrize("text", ["model.eval", "optimizer.zero_grad", "if x:\n    scheduler.step", "self.net.freeze"])
def test_a_method_that_is_named_and_not_called_is_found(text: str) -> None:
    assert len(_facts(text, "uncalled_methods")) == 1


@pytest.mark.parametrize("text", ["model.eval()", "step = optimizer.step", "run(model.train)", "'model.eval'"])
def test_methods_that_are_called_or_passed_on_are_not_found(text: str) -> None:
    assert _facts(text, "uncalled_methods") == []


_LAYER = """
class Net:
    def __init__(self):
        self.part = {}()
    def forward(self, x):
        self.part(x)
        return x
"""
_DROPPED = [
    "import torch\ndef forward(self, x):\n    F.relu(x)\n    return x",
    "import torch\nx.masked_fill(mask, 0)",
    "import torch\ntorch.no_grad()\ny = model(x)",
    "nn.SyncBatchNorm.convert_sync_batchnorm(model)",
    "Net.load_from_checkpoint(path)",
    "import datasets\ndataset.shuffle(seed=0)",
    "import pandas as pd\ndf.fillna(0)",
    _LAYER.format("nn.GELU"),
]
_USED = [
    "import torch\ndef forward(self, x):\n    F.relu(x, inplace=True)\n    return F.relu(x)",
    "import torch\nplt.scatter(x, y)\nax.view_init(3)",
    "import torch\nx.masked_fill_(mask, 0)\nx = x.masked_fill(mask, 0)",
    "import torch\nwith torch.no_grad():\n    y = model(x)",
    "model = Net.load_from_checkpoint(path)",
    "model.float()\nmodel.to(device)\nmodel.half()",
    "import datasets\nrandom.shuffle(rows)\ndataset.set_format('torch')",
    "import pandas as pd\ndf.fillna(0, inplace=True)",
    _LAYER.format("Accuracy"),
]


@pytest.mark.parametrize("text", _DROPPED)
def test_a_result_that_is_dropped_is_found(text: str) -> None:
    assert len(_facts(text, "dropped")) == 1


@pytest.mark.parametrize("text", _USED)
def test_results_that_are_used_and_calls_that_act_in_place_are_not_found(text: str) -> None:
    assert _facts(text, "dropped") == []


def test_the_initialization_of_a_copy_is_found_and_that_of_the_weight_is_not() -> None:
    assert len(_facts("nn.init.zeros_(layer.weight.clone())", "copies")) == 1
    assert _facts("nn.init.zeros_(layer.weight)", "copies") == []


_STOPPING = """
for epoch in range(9):
    if loss < best:
        wait = 0
    else:
        wait += 1
        if wait >= patience:
            model.load_state_dict(best_weights)
            break
"""
_INIT = """
def init(m):
    if isinstance(m, nn.Conv2d):
        nn.init.zeros_(m.bias)
    elif isinstance(m, nn.Linear):
        nn.init.ones_(m.weight)
"""


def _unrun(text: str, lines: set[int]) -> list[str]:
    return [one["kind"] for one in unrun.facts(ast.parse(text), lines)]


def test_a_restore_whose_condition_is_never_true_is_found() -> None:
    assert _unrun(_STOPPING, {2, 3, 4, 6, 7}) == ["restore"]
    assert _unrun(_STOPPING, {2, 3, 4, 6, 7, 8, 9}) == []


def test_a_restore_elsewhere_that_runs_is_enough() -> None:
    again = _STOPPING + "model.load_state_dict(best_weights)\n"
    assert _unrun(again, {2, 3, 4, 6, 7, 10}) == []


def test_a_freeze_that_matches_no_name_is_found_and_one_that_is_not_asked_for_is_not() -> None:
    text = "for name, p in model.named_parameters():\n    if 'encoder' in name:\n        p.requires_grad = False\n"
    assert _unrun(text, {1, 2}) == ["freeze"]
    assert _unrun(text, {1, 2, 3}) == []
    assert _unrun(text.replace("'encoder' in name", "args.freeze"), {1, 2}) == []


def test_an_initialization_of_some_kinds_of_layers_is_healthy_where_one_of_them_is_there() -> None:
    assert _unrun(_INIT, {2, 3, 5}) == ["init"]
    assert _unrun(_INIT, {2, 3, 5, 6}) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("best_weights = copy.deepcopy(model.state_dict())", ["script"]),
        ("torch.save(model.state_dict(), 'best.pt')", ["script"]),
        ("best_weights = copy.deepcopy(model.state_dict())\nmodel.load_state_dict(best_weights)", []),
        ("torch.save(model.state_dict(), 'last.pt')", []),
        ("c = ModelCheckpoint(monitor='val_loss')\ntrainer.test(model, loader)", ["trainer"]),
        ("c = ModelCheckpoint(monitor='val_loss')\ntrainer.test(model, loader, ckpt_path='best')", []),
        ("c = ModelCheckpoint(monitor='val_loss')\ntrainer.test(dataloaders=loader)", []),
        ("c = ModelCheckpoint()\ntrainer.test(model, loader)", []),
    ],
)
def test_best_weights_that_are_kept_and_not_used_are_found(text: str, found: list[str]) -> None:
    assert [one["by"] for one in kept.facts(ast.parse(text))] == found


def test_best_weights_that_are_never_better_than_the_first_value_are_found() -> None:
    text = "best = 0\nfor epoch in range(3):\n    if loss < best:\n        torch.save(state, 'best.pt')\n"
    assert _unrun(text, {1, 2, 3}) == ["keep"]
    assert _unrun(text, {1, 2, 3, 4}) == []
    assert _unrun(text.replace("loss <", "save and loss <"), {1, 2, 3}) == []

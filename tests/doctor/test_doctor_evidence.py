"""The doctor's evidence beyond patterns of code: what is called, evaluated, read and carried over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from faultlab.doctor import moved, restarts
from faultlab.doctor.finding import ATTENTION, OK, WRONG, Finding
from faultlab.doctor.loops import repeated
from faultlab.engines import Engine, create
from tests.doctor.test_doctor_loops import examined

_NIGHTLY = pytest.mark.nightly(reason="a healthy loop and the experiments by themselves run quick; each trains twice")
_LOOP = """
import copy
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(320, 6)
y = x[:, :3].argmax(1)
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
{MADE}
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(4):
    for rows in torch.randperm(256).split(32):
        loss = F.cross_entropy({CALLED}(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        val_loss = F.cross_entropy({EVALUATED}(x[256:]), y[256:])
    print(loss.item(), val_loss.item())
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    working = create("fork", 2)
    yield working
    working.close()


def _ill(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.verdict) for one in found if one.verdict != OK]


def _loop(made: str, called: str, evaluated: str) -> str:
    return _LOOP.replace("{MADE}", made).replace("{CALLED}", called).replace("{EVALUATED}", evaluated)


@_NIGHTLY
@pytest.mark.parametrize(
    ("made", "verdict"),
    [("wrapped = nn.DataParallel(net)", WRONG), ("wrapped = torch.compile(net, backend='eager')", ATTENTION)],
)
def test_a_wrapper_that_is_not_called_is_found_and_calling_it_heals(
    made: str, verdict: str, tmp_path: Path, engine: Engine
) -> None:
    assert _ill(examined(tmp_path, _loop(made, "net", "net"), engine)) == [("wrapped model", verdict)]
    assert _ill(examined(tmp_path, _loop(made, "wrapped", "wrapped"), engine)) == []


def test_two_losses_that_one_line_prints_are_not_an_average(tmp_path: Path, engine: Engine) -> None:
    assert _ill(examined(tmp_path, _loop("", "net", "net"), engine)) == []


@_NIGHTLY
def test_a_copy_that_never_learns_is_found_only_if_it_is_what_is_evaluated(tmp_path: Path, engine: Engine) -> None:
    made = "best = copy.deepcopy(net)"
    assert _ill(examined(tmp_path, _loop(made, "net", "best"), engine)) == [("evaluated weights", WRONG)]
    both = _loop(made, "net", "net").replace("    print(", "        best(x[256:])\n    print(")
    assert _ill(examined(tmp_path, both, engine)) == []


@pytest.mark.parametrize(
    ("rates", "asked", "schedulers", "verdicts"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1.0, [], [WRONG]),
        ([0.4, 0.3, 0.2, 0.1], 0.4, ["StepLR"], [ATTENTION]),
        ([0.4, 0.3, 0.2, 0.1], 0.4, ["CosineAnnealingWarmRestarts"], []),
        ([0.4, 0.4, 0.4, 0.4], 0.4, [], []),
    ],
)
def test_a_rate_that_begins_again_with_each_epoch_is_found_unless_it_is_a_cycle(
    rates: list[float], asked: float, schedulers: list[str], verdicts: list[str]
) -> None:
    changes = list(enumerate(rates * 3))
    assert [one.verdict for one in restarts.found(changes, 12, 3, asked, schedulers)] == verdicts


def test_a_rate_of_the_whole_training_does_not_begin_again() -> None:
    assert list(restarts.found([(step, step / 12) for step in range(12)], 12, 3, 1.0, [])) == []


class _Pairs:
    def __init__(self, moves: str, target: torch.Tensor) -> None:
        self.moves, self.target = moves, target
        self.input = torch.arange(16.0).reshape(1, 4, 4)
        self.reads = 0

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.reads += 1
        turned = self.reads % 2 == 0
        one = self.input.flip(-1) if turned and self.moves in ("input", "both") else self.input
        if turned and self.moves == "noise":
            one = one + 1
        return one, self.target.flip(-1) if turned and self.moves in ("target", "both") else self.target


@pytest.mark.parametrize(
    ("moves", "found"), [("input", "input"), ("target", "target"), ("both", ""), ("noise", ""), ("", "")]
)
def test_an_input_or_target_that_is_flipped_alone_is_found(moves: str, found: str) -> None:
    assert moved.of(_Pairs(moves, torch.eye(4)[:, [0, 1, 3, 2]] + torch.tensor([0.0, 0, 0, 2]))) == found


def test_labels_of_a_whole_image_may_stay_when_it_is_flipped() -> None:
    assert moved.of(_Pairs("input", torch.tensor(3))) == ""
    assert moved.of(_Pairs("input", torch.zeros(4, 4))) == ""


class _Remembers(torch.nn.Module):
    def __init__(self, remembers: bool) -> None:
        super().__init__()
        self.layer, self.remembers, self.last = torch.nn.Linear(3, 3), remembers, torch.zeros(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) + (self.last if self.remembers else torch.rand(3))
        self.last = out.detach().mean(0)
        return out


@pytest.mark.parametrize("remembers", [True, False])
def test_a_state_between_batches_is_found_and_random_outputs_are_none(remembers: bool) -> None:
    torch.manual_seed(0)
    batches = [((torch.randn(4, 3),), {}), ((torch.randn(4, 3),), {})]
    assert repeated.carries_state(_Remembers(remembers), batches) is remembers


_MODULE = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.body(batch[0]), batch[0])

    def on_train_epoch_end(self):
        self.eval()
        with torch.no_grad():
            self.body(torch.zeros(2, 6)){BACK}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


trainer = pl.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(Net(), DataLoader(TensorDataset(torch.randn(64, 6)), batch_size=16, shuffle=True))
"""


@_NIGHTLY
def test_a_hook_that_leaves_the_module_in_eval_mode_is_named_and_train_in_it_heals(
    tmp_path: Path, engine: Engine
) -> None:
    found = examined(tmp_path, _MODULE.replace("{BACK}", ""), engine)
    (one,) = (one for one in found if one.check == "training mode")
    assert one.verdict == WRONG
    assert "at the end of on_train_epoch_end" in one.remedy
    healed = examined(tmp_path, _MODULE.replace("{BACK}", "\n        self.train()"), engine)
    assert [one for one in healed if one.check == "training mode"] == []


@_NIGHTLY
def test_labels_whose_alignment_could_not_be_checked_are_said_to_be_unchecked(tmp_path: Path, engine: Engine) -> None:
    found = examined(tmp_path, _MODULE.replace("{BACK}", "\n        self.train()"), engine)
    (one,) = (one for one in found if "could not check the alignment of labels" in one.what)
    assert "which part of a batch has the labels is unknown" in one.evidence

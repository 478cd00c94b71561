"""verify: the checks of a model before it trains."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab import guards
from faultlab.guards import Alarm, GuardWarning, verify
from faultlab.guards.verifying import CHECKS
from scenarios.text import answers
from tests.frameworks.hand_written import Net
from tests.guards.rig import Healthy, points

Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def batch() -> Batch:
    inputs, labels = points(32).tensors
    return inputs, labels


def _loss(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_healthy_module_passes_every_check(batch: Batch) -> None:
    found = verify(Healthy(), batch, action="raise")
    assert found
    assert [one.check for one in found.results] == list(CHECKS)
    assert {one.outcome for one in found.results} == {"passed"}, found


def test_a_plain_module_passes_with_a_loss_of_its_own(batch: Batch) -> None:
    found = verify(Net(), batch, _loss, action="raise")
    assert not found.skipped, found


def test_a_packed_text_with_prompts_and_padding_passes() -> None:
    rows = torch.utils.data.default_collate([answers.Answers(32, 0)[index] for index in range(32)])
    found = verify(answers.Answerer(), rows, lambda model, batch: answers.loss(model, batch)[0], action="raise")
    assert found["samples"].outcome == found["overfits"].outcome == "passed", found


class Skipping(Net):
    """Skips a layer in nearly every training step, by chance (stochastic depth)."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.norm(self.hidden(points)))
        skips = self.training and bool(torch.rand(()) < 0.999)
        return self.head(hidden if skips else 2 * hidden)


def test_a_layer_that_is_skipped_by_chance_in_training_is_allowed(batch: Batch) -> None:
    found = verify(Skipping(), batch, _loss)
    assert found["modes"].outcome == "passed", found


class Mixing(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        scores = super().forward(points)
        return scores + 0.5 * scores.roll(1, 0)


class Detached(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(F.relu(self.norm(self.hidden(points)))).detach())


class Dead(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.hidden(points)).clamp(max=-1)))


class Moody(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * points if self.training else points)


class Loud(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return 100 * super().forward(points)


class Deaf(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return super().forward(points * 0)


class Broken(Net):
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return super().forward(points[:, :3])


class Huge(Net):
    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.hidden.weight.mul_(1000)


class Flipping(Net):
    """Drops values by a function of its own, as its mode demands."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return super().forward(F.dropout(points, 0.3, self.training))


@pytest.mark.parametrize(
    ("model", "check", "says"),
    [
        (Mixing, "samples", "other samples are in the batch"),
        (Detached, "gradients", "hidden.weight, hidden.bias, norm.weight and 1 more never gets a gradient"),
        (Dead, "gradients", "is always zero"),
        (Moody, "modes", "Moody computes something else in training mode"),
        (Loud, "initial-loss", "that of guessing all classes alike 1.099"),
        (Deaf, "overfits", "that of guessing by the frequency of the labels is"),
        (Broken, "step", "the step raises RuntimeError"),
        (Huge, "weights", "hidden.weight is initialized too large"),
    ],
)
def test_each_broken_model_fails_the_check_for_it(model: type[Net], check: str, says: str, batch: Batch) -> None:
    points, labels = batch
    found = verify(model(), (points, torch.where(points[:, 0] > 1, 2, labels)), _loss)
    assert found[check].outcome == "failed", found
    assert says in found[check].found
    assert found[check].remedy
    with pytest.raises(Alarm, match="verify: "):
        verify(model(), batch, _loss, action="raise")


@pytest.mark.parametrize(("model", "check"), [(Mixing, "samples"), (Moody, "modes"), (Loud, "initial-loss")])
def test_a_failure_that_one_check_is_for_fails_no_other(model: type[Net], check: str, batch: Batch) -> None:
    assert [one.check for one in verify(model(), batch, _loss).failed] == [check]


def test_random_numbers_that_follow_the_mode_are_allowed(batch: Batch) -> None:
    assert verify(Flipping(), batch, _loss)["modes"].outcome == "passed"


def test_frozen_parameters_are_listed_and_need_no_gradient(batch: Batch) -> None:
    model = Net()
    model.hidden.requires_grad_(False)
    found = verify(model, batch, _loss, action="raise")
    assert found.frozen == ("hidden.weight", "hidden.bias")
    assert "2 of 6 parameters are frozen: hidden.weight, hidden.bias" in repr(found)
    nothing = verify(model.requires_grad_(False), batch, _loss)
    assert nothing["gradients"].outcome == "failed"


def test_the_model_and_the_random_numbers_are_as_before(batch: Batch) -> None:
    module = Healthy()
    module.head.eval()
    _loss(module, batch).backward()
    before = copy.deepcopy(module.state_dict()), [p.grad.clone() for p in module.parameters() if p.grad is not None]
    modes, hooks = [part.training for part in module.modules()], [len(p._forward_pre_hooks) for p in module.modules()]
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()  # type: ignore[index]
    verify(module, batch)
    assert all(torch.equal(value, before[0][name]) for name, value in module.state_dict().items())
    assert all(torch.equal(p.grad, kept) for p, kept in zip(module.parameters(), before[1]) if p.grad is not None)
    assert modes == [part.training for part in module.modules()]
    assert hooks == [len(p._forward_pre_hooks) for p in module.modules()]
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), numpy.random.get_state()[1].tolist())  # type: ignore[index]


def test_a_loss_that_uses_another_model_is_refused_and_leaves_no_gradient(batch: Batch) -> None:
    class Holder:
        """Hides the model, as a global variable does."""

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    holder: Any = Holder()
    holder.model = Net()
    with pytest.raises(ValueError, match="another model"):
        verify(holder.model, batch, lambda model, batch: _loss(holder.model, batch))
    assert all(parameter.grad is None for parameter in holder.model.parameters())


def test_manual_optimization_is_skipped(batch: Batch) -> None:
    module = Healthy()
    module.automatic_optimization = False
    found = verify(module, batch, action="raise")
    assert {one.check for one in found.skipped} == set(CHECKS) - {"weights"}


def test_a_regression_has_no_loss_of_guessing(batch: Batch) -> None:
    inputs, _ = batch
    found = verify(
        nn.Linear(4, 1), (inputs, inputs[:, :1] * 3), lambda model, batch: F.mse_loss(model(batch[0]), batch[1])
    )
    assert found["initial-loss"].outcome == "skipped"
    assert found["overfits"].outcome == "passed", found


def test_a_step_that_differentiates_is_checked(batch: Batch) -> None:
    def slope(model: Any, batch: Any) -> torch.Tensor:
        inputs = batch[0].clone().requires_grad_()
        outputs = model(inputs)
        (slopes,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
        return ((slopes - 1) ** 2).mean() + outputs.mean() ** 2

    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    found = verify(model, batch, slope, action="raise")
    assert [one.check for one in found.skipped] == ["initial-loss"], found


def test_the_report_reads_well_as_text_and_in_a_notebook(batch: Batch) -> None:
    found = verify(Moody(), batch, _loss)
    assert repr(found).startswith("Moody: 1 of 7 checks failed\n")
    assert "  FAILED   modes " in repr(found)
    assert "<b>Moody</b>: 1 of 7 checks failed" in found._repr_html_()
    assert not found


def test_failures_are_warned_of_on_request(batch: Batch) -> None:
    with pytest.warns(GuardWarning, match=r"verify: Moody computes something else"):
        verify(Moody(), batch, _loss, action="warn")


def test_invalid_arguments_are_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match="invalid action 'stop'"):
        verify(Net(), batch, _loss, action="stop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no check mixing: expected weights"):
        verify(Net(), batch, _loss, leave_out=["mixing"])
    with pytest.raises(TypeError, match="no training_step: pass a function"):
        verify(Net(), batch)
    with pytest.raises(TypeError, match="invalid model of type int"):
        verify(3, batch, _loss)  # type: ignore[arg-type]
    assert "verify" in guards.__all__

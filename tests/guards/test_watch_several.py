"""watch: several models and optimizers of one loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab import guards
from faultlab.guards import Alarm, watch
from faultlab.guards.watching import Watching
from tests.frameworks import hand_written


def models() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4)), nn.Linear(4, 1)


def adversaries(fault: str = "", sees_loader: bool = True, level: Any = "cheap", form: Any = tuple) -> Watching:
    """Let a generator and a discriminator improve each other, with a fault in one of them."""
    generator, discriminator = models()
    first, second = (torch.optim.Adam(one.parameters(), lr=2e-3) for one in (generator, discriminator))
    loader = hand_written._training()
    bce = F.binary_cross_entropy_with_logits
    known = {"loader": loader} if sees_loader else {}
    with watch(form([generator, discriminator]), form([first, second]), level=level, **known) as watching:
        for _ in range(3):
            for number, (real, _) in enumerate(loader):
                made = generator(torch.randn(len(real), real.shape[1]))
                second.zero_grad()
                ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                (bce(discriminator(real), ones) + bce(discriminator(made.detach()), zeros)).backward()
                second.step()
                if fault != "not cleared":
                    first.zero_grad()
                loss = bce(discriminator(made.detach() if fault == "detached" else made), ones)
                (loss * (float("nan") if fault == "nan" and number == 5 else 1.0)).backward()
                if fault != "no step":
                    first.step()
                if fault == "weights" and number == 5:
                    with torch.no_grad():
                        generator[0].weight.mul_(3.0)  # type: ignore[index,operator]
    return watching


@pytest.mark.filterwarnings("error::faultlab.guards.guard.GuardWarning")
@pytest.mark.parametrize("sees_loader", [True, False])
@pytest.mark.parametrize("form", [tuple, list, nn.ModuleList, lambda two: dict(zip(("g", "d"), two))])
def test_every_form_of_several_models_is_watched(form: Any, sees_loader: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards.Guard, "own_errors", "raise")
    optimizers = list if form is nn.ModuleList else form
    watching = adversaries(form=lambda two: (form if isinstance(two[0], nn.Module) else optimizers)(two),
                           sees_loader=sees_loader, level="full")  # fmt: skip
    assert (watching.trainer.global_step, watching.trainer.total_batch_idx) == (60, 29)


@pytest.mark.parametrize("sees_loader", [True, False])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "LossContract: the loss is nan"),
        ("detached", "Gradients: no parameter of Adam has a gradient"),
        ("not cleared", "GradientsCleared: Adam is about to step on gradients that were not cleared"),
        ("weights", r"WeightsIntact: .* sequential\.0\.weight changed|ParametersMove: the step of batch 5 moved"),
    ],
)
def test_a_fault_of_either_model_is_detected(fault: str, message: str, sees_loader: bool) -> None:
    with pytest.raises(Alarm, match=message):
        adversaries(fault, sees_loader)


def test_models_are_named_as_they_were_given() -> None:
    one, other = models()
    optimizer = torch.optim.SGD([*one.parameters(), *other.parameters()], lr=0.1)
    watching = watch({"generator": one, "a.critic": other}, optimizer)
    watching.detach()
    names = {name.partition(".")[0] for name, _ in watching.module.named_parameters()}
    assert names == {"generator", "a_critic"}


def test_two_models_of_one_loss_are_judged_as_one_model() -> None:
    one, other = models()
    optimizer = torch.optim.SGD([*one.parameters(), *other.parameters()], lr=0.1)
    watching = watch([one, other], optimizer)
    watching.detach()
    assert watching.module.automatic_optimization
    two = watch([one, other], [optimizer, torch.optim.SGD(other.parameters(), lr=0.1)])
    two.detach()
    assert not two.module.automatic_optimization


def test_one_model_in_a_list_is_watched_itself() -> None:
    one, _ = models()
    watching = watch([one], torch.optim.SGD(one.parameters(), lr=0.1))
    watching.detach()
    assert watching.module is one


@pytest.mark.parametrize(("given", "message"), [([], "no model is given"), ([1], "invalid model of type int")])
def test_what_is_not_a_model_is_refused(given: Any, message: str) -> None:
    optimizer = torch.optim.SGD(models()[0].parameters(), lr=0.1)
    with pytest.raises((TypeError, ValueError), match=message):
        watch(given, optimizer)

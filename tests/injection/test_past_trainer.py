"""Modules that step torch's own optimizers, send losses backward and clip gradients by themselves."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from faultlab.catalogue.injection_points import Backward, Clipping, Optimizers, OptimizerStep
from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.evaluation import evaluate
from faultlab.frameworks.lightning.target import Built
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site, attach
from faultlab.injection.registry import load
from tests.injection.outer import BOTH, probed
from tests.injection.test_detach import TRAINER
from tests.zoo import parts

KINDS = ["raw", "kept", "wrapped"]


def _profile(kind: str) -> TargetProfile:
    torch.manual_seed(0)
    return probed(*parts.by_hand(kind), accelerator="cpu")


def _broken(kind: str, mode: str, profile: TargetProfile) -> tuple[Armed, Any]:
    torch.manual_seed(0)
    module, data = parts.by_hand(kind)
    clock = LightningClock()
    armed = Armed(Fault.parse(f"{mode}@always"), load()[mode], clock, profile)
    with Patches() as patches:
        clock.attach(patches)
        with attach(armed, Site(type(module), module)):
            importlib.import_module(BOTH[0]).Trainer(**TRAINER).fit(module, *data)
    return armed, module


@pytest.mark.parametrize("kind", KINDS)
def test_steps_backwards_and_clipping_by_hand_are_all_seen(kind: str) -> None:
    profile = _profile(kind)
    assert [seam.inapplicable(profile) for seam in (OptimizerStep(), Backward(), Clipping())] == [""] * 3
    assert profile.past_trainer is (kind != "wrapped")
    assert REQUIREMENTS["optimizer-state"](profile) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_steps_backwards_and_clipping_by_hand_are_broken(kind: str) -> None:
    profile = _profile(kind)
    torch.manual_seed(0)
    fresh = [parameter.clone() for parameter in parts.by_hand(kind)[0].parameters()]
    for mode in ("optimizer.step-skipped", "optimizer.drops-update", "gradient.clip-disabled"):
        armed, module = _broken(kind, mode, profile)
        assert (armed.activations, armed.broken) == (profile.steps, ""), mode
        same = all(torch.equal(one, other) for one, other in zip(fresh, module.parameters()))
        assert same is (mode != "gradient.clip-disabled"), mode
    for optimizer in parts.by_hand(kind)[0].kept.values():
        assert "step" not in vars(optimizer)


def test_what_a_clipping_that_is_left_out_would_give_is_given() -> None:
    profile = _profile("raw")
    _, module = _broken("raw", "gradient.clip-disabled", profile)
    assert module.norm > 0.01
    assert sum(float(p.grad.norm() ** 2) for p in module.parameters()) ** 0.5 == pytest.approx(float(module.norm))


def test_what_the_trainer_never_gets_is_not_said_to_be_missing() -> None:
    profile = _profile("kept")
    assert Optimizers().inapplicable(profile) == "configure_optimizers returns no optimizer"
    assert REQUIREMENTS["remembering-optimizer"](profile) == "there is no optimizer"
    assert "max_steps does not count" in REQUIREMENTS["several-updates"](profile)
    assert REQUIREMENTS["several-updates"](_profile("wrapped")) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_not_trained_on_while_they_are_evaluated(kind: str) -> None:
    module, (train, _) = parts.by_hand(kind)
    built = Built(module, pl.Trainer, {"accelerator": "cpu"}, {"train_dataloaders": train}, namespace=pl)
    before = [parameter.clone() for parameter in module.parameters()]
    evaluate(built, validates=False, arguments={})
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters()))

"""The injection points as data, and the hooks that attach to them: each is used, told of rightly, and found."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from faultlab.catalogue import index, scaffold
from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import Gradients, InjectionPoint, StepOutput, ZeroGrad
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import CatalogueError
from faultlab.injection import hooks, registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site
from faultlab.injection.registry import Registered

POINTS = scaffold.seams()


@dataclass(frozen=True)
class Own(InjectionPoint):
    """A point of this test's own."""


@pytest.fixture
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    hooks.load("toy")
    monkeypatch.setattr(hooks, "_HOOKS", dict(hooks._HOOKS))


def _armed(point: InjectionPoint, injector: Callable[..., Any] = lambda value, ctx: value) -> Armed:
    mode = declare(id="trial.mode", docstring="A trial.", no_evidence="a test", point=point, severity="minor",
                   effect="silent", cause=("x",))  # fmt: skip
    return Armed(Fault("trial.mode"), Registered(mode, injector), Clock(), TargetProfile(framework="toy"))


def test_every_injection_point_is_the_seam_of_some_failure_mode() -> None:
    assert set(POINTS) == {mode.seam for mode in index.modes().values()}


def test_lightning_has_a_hook_for_every_injection_point() -> None:
    assert set(POINTS) <= set(hooks.offered("lightning"))


@pytest.mark.parametrize("name", POINTS)
def test_injectors_act_in_the_way_that_their_injection_point_says(name: str) -> None:
    found = [one for one in registry.load().values() if one.mode.seam == name]
    assert found
    for one in found:
        signature = inspect.signature(one.injector)
        is_call = next(iter(signature.parameters.values())).annotation == "Call"
        assert is_call == (one.mode.point.kind == "around"), one.mode.id
        if one.mode.point.kind == "in_place":
            assert signature.return_annotation == "None", one.mode.id


def test_torchs_hooks_serve_a_framework_that_has_none_of_its_own() -> None:
    of_step = {"Backward", "Clipping", "Gradients", "HeadInput", "Loss", "ModuleOutput", "Sample", "ZeroGrad"}
    called = {"Attention", "ClassWeights", "StopGradient"}
    expected = of_step | {"Averaging"}
    of_ranks = {"Collective", "Replica", "ReplicaArguments", "SamplerEpoch"}
    assert {*hooks.offered("toy")} == expected | called | of_ranks
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], 0.1)
    armed = _armed(ZeroGrad(), lambda call, ctx: None)
    weight.sum().backward()
    with hooks.attach(armed, Site(type(None))):
        optimizer.zero_grad()
    assert weight.grad is not None
    assert armed.activations == 1
    optimizer.zero_grad()
    assert weight.grad is None


def test_gradients_are_broken_where_the_framework_has_no_backward_of_its_own() -> None:
    network = torch.nn.Linear(2, 1)

    def zero(parameters: list[Any], ctx: Any) -> None:
        for parameter in parameters:
            parameter.grad.zero_()

    armed = _armed(Gradients(), zero)
    with hooks.attach(armed, Site(type(network), network)):
        network(torch.ones(3, 2)).sum().backward()
    assert armed.activations == 1
    assert network.weight.grad is not None
    assert not network.weight.grad.any()


@pytest.mark.usefixtures("_forgotten")
def test_a_frameworks_own_hook_comes_before_torchs() -> None:
    came: list[InjectionPoint] = []

    @hooks.hooks(ZeroGrad, framework="toy")
    def own(point: ZeroGrad, patches: Patches, armed: Armed, site: Site) -> None:
        came.append(point)

    with hooks.attach(_armed(ZeroGrad()), Site(type(None))):
        pass
    assert came == [ZeroGrad()]


def test_a_point_that_derives_from_another_takes_its_hook() -> None:
    @dataclass(frozen=True)
    class Derived(ZeroGrad):
        """A point of this test's own."""

    assert Derived().hooked(TargetProfile(seams=("ZeroGrad",)))
    assert not Own().hooked(TargetProfile(seams=("ZeroGrad",)))
    armed = _armed(Derived(), lambda call, ctx: None)
    with hooks.attach(armed, Site(type(None))):
        torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1).zero_grad()
    assert armed.activations == 1


@pytest.mark.usefixtures("_forgotten")
def test_a_second_hook_for_the_same_point_is_refused_and_both_are_named() -> None:
    def one(point: Own, patches: Patches, armed: Armed, site: Site) -> None: ...

    def other(point: Own, patches: Patches, armed: Armed, site: Site) -> None: ...

    register = hooks.hooks(Own, framework="toy")
    register(one)
    register(one)
    with pytest.raises(CatalogueError, match=r"Own has two hooks for toy: .*\.one and .*\.other"):
        register(other)


def test_a_point_without_a_hook_can_not_be_attached_and_the_error_names_both() -> None:
    with Patches() as patches, pytest.raises(CatalogueError, match=r"trial\.mode can't .* toy has no hook for StepOut"):
        hooks.install(_armed(StepOutput()), patches, Site(type(None)))

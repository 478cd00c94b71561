"""Each seam by itself, in both namespaces and kinds of optimisation: the injector gets the value, and is counted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import (
    Batch,
    Definition,
    Gradients,
    HeadInput,
    InjectionPoint,
    Loader,
    Loss,
    Mode,
    ModuleOutput,
    OptimizerStep,
    StepCall,
    StepOutput,
    ZeroGrad,
)
from faultlab.core.fault import Fault, Trigger
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.probe import Probe
from faultlab.injection.armed_fault import Armed, BrokenInjector
from faultlab.injection.hooks import Site, attach
from faultlab.injection.registry import Registered
from faultlab.injection.values import Stream
from tests.injection.test_detach import TRAINER
from tests.zoo import models

STEPS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    torch.set_grad_enabled(True)


def _fit(
    factory: Any, namespace: str, seam: InjectionPoint, injector: Callable[..., Any], trigger: str, **mode: Any
) -> Armed:
    """Trains four batches twice, clean for the target profile and then with the injector at the seam."""
    package = importlib.import_module(namespace)
    armed: Armed | None = None
    profile = None
    for _ in range(2):
        torch.manual_seed(0)
        module, data = factory(namespace)
        site, clock = Site(type(module), module), LightningClock()
        with Patches() as patches:
            clock.attach(patches)
            trainer = package.Trainer(**TRAINER)
            if profile is None:
                probe = Probe(site, clock)
                with probe.watching():
                    trainer.fit(module, *data)
                profile = probe.profile(trainer, STEPS, 2)
                continue
            declared = declare(id="trial.mode", docstring="A trial.", no_evidence="a test", point=seam,
                               severity="minor", effect="silent", cause=("x",), **mode)  # fmt: skip
            registered = Registered(declared, injector)
            armed = Armed(Fault("trial.mode", trigger=Trigger.parse(trigger)), registered, clock, profile)
            with attach(armed, site):
                trainer.fit(module, *data)
    assert armed is not None
    return armed


def _none(value: Any, ctx: Any) -> None:
    return None


def _doubled(value: Any, ctx: Any) -> Any:
    return value * 2


def _zeroed(parameters: Any, ctx: Any) -> None:
    for parameter in parameters:
        parameter.grad.zero_()


def _skipped(call: Any, ctx: Any) -> Any:
    closure = ctx.memory.get("closure")
    return closure() if closure else None


def _first_half(stream: Stream, ctx: Any) -> Stream:
    return Stream(iter([next(stream.iterator), next(stream.iterator)]), 2)


def _to_eval(module: Any, ctx: Any) -> None:
    module.eval()


BOTH = ["pytorch_lightning", "lightning.pytorch"]
AUTOMATIC = {
    "StepOutput": (StepOutput(), _none, "always", STEPS),
    "StepCall": (StepCall("on_train_batch_start"), lambda call, ctx: -1, "step=2", 1),
    "Definition": (Definition("validation_step"), _none, "always,stage=validate", 1),
    "Batch": (Batch(), lambda batch, ctx: [batch[0] * 2, batch[1]], "always", STEPS),
    "Batch of a role": (Batch("inputs", "floating"), _doubled, "step=3", 1),
    "Loader": (Loader(), _first_half, "always", 1),
    "ModuleOutput": (ModuleOutput(), _doubled, "every=2", 2),
    "HeadInput": (HeadInput(), _doubled, "step=2", 1),
    "Loss": (Loss(), _doubled, "always", STEPS),
    "Gradients": (Gradients(), _zeroed, "always", STEPS),
    "OptimizerStep": (OptimizerStep(), _skipped, "step=1", 1),
    "ZeroGrad": (ZeroGrad(), _none, "always", STEPS),
    "Mode": (Mode(), _to_eval, "step=1", 1),
}
MANUAL = {
    "Loss": (Loss(), _doubled, "always", 2 * STEPS),
    "Gradients": (Gradients(), _zeroed, "always", 2 * STEPS),
    "OptimizerStep": (OptimizerStep(), _none, "always", 2 * STEPS),
    "ZeroGrad": (ZeroGrad(), _none, "step=2", 2),
    "ModuleOutput": (ModuleOutput(), _doubled, "always", STEPS),
    "StepCall": (StepCall(), _none, "once", 1),
}


@pytest.mark.parametrize("namespace", BOTH)
@pytest.mark.parametrize("name", AUTOMATIC)
def test_a_seam_hands_over_its_value_under_automatic_optimisation(name: str, namespace: str) -> None:
    seam, injector, trigger, activations = AUTOMATIC[name]
    armed = _fit(models.classifier, namespace, seam, injector, trigger)
    assert (armed.activations, armed.broken) == (activations, "")


@pytest.mark.parametrize("namespace", BOTH)
@pytest.mark.parametrize("name", MANUAL)
def test_a_seam_hands_over_its_value_under_manual_optimisation(name: str, namespace: str) -> None:
    seam, injector, trigger, activations = MANUAL[name]
    armed = _fit(models.adversarial, namespace, seam, injector, trigger)
    assert (armed.activations, armed.broken) == (activations, "")


@pytest.mark.parametrize("name", ["StepOutput", "Batch", "Loss", "Gradients", "ZeroGrad", "ModuleOutput"])
def test_an_injector_that_changes_nothing_has_not_acted(name: str) -> None:
    untouched = {"Gradients": _none, "ZeroGrad": lambda call, ctx: call()}.get(name, lambda value, ctx: value)
    armed = _fit(models.classifier, "pytorch_lightning", AUTOMATIC[name][0], untouched, "always")
    assert (armed.activations, armed.first_step) == (0, None)


def test_a_stage_in_the_trigger_overrides_the_modes_own() -> None:
    armed = _fit(models.classifier, "pytorch_lightning", ModuleOutput(), _doubled, "always,stage=validate")
    # two batches in the sanity check and two in the epoch's validation
    assert armed.activations == 4


def test_another_rank_is_left_alone() -> None:
    armed = _fit(models.classifier, "pytorch_lightning", Loss(), _doubled, "always,rank=1")
    assert armed.activations == 0


def test_a_bug_of_an_injector_is_no_exception_that_a_victim_could_swallow() -> None:
    def buggy(value: Any, ctx: Any) -> Any:
        raise KeyError("bug")

    with pytest.raises(BrokenInjector, match="KeyError"):
        _fit(models.classifier, "pytorch_lightning", Loss(), buggy, "step=1")


def test_an_intended_exception_of_an_injector_is_the_fault_itself() -> None:
    def failing(value: Any, ctx: Any) -> Any:
        raise ctx.intended(ValueError("on purpose"))

    with pytest.raises(ValueError, match="on purpose"):
        _fit(models.classifier, "pytorch_lightning", ModuleOutput(), failing, "step=1")

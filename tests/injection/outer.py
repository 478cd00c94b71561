"""Trainings with an injector outside of the step."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.core.fault import Fault, Trigger
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.probe import Probe
from faultlab.injection import hooks
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site
from faultlab.injection.registry import Registered
from tests.injection.test_detach import TRAINER
from tests.zoo import equipped, models

BOTH = ["pytorch_lightning", "lightning.pytorch"]
EVERY = ("train", "validate", "test", "predict")


def train(
    seam: InjectionPoint,
    injector: Callable[..., Any],
    build: Callable[[], tuple[Any, Any]],
    trigger: str = "always",
    namespace: str = BOTH[0],
    profile: TargetProfile | None = None,
    then: Callable[[Any, Any], None] = lambda trainer, module: None,
    made: list[Armed] | None = None,
    **arguments: Any,
) -> SimpleNamespace:
    """Builds and trains with an injector in place, and then does something with the Trainer while it still is."""
    package = importlib.import_module(namespace)
    declared = declare(id="trial.mode", docstring="A trial.", no_evidence="a test", point=seam, severity="minor",
                       effect="silent", cause=("x",), stages=EVERY)  # fmt: skip
    registered = Registered(declared, injector)
    clock = LightningClock()
    profile = profile or TargetProfile(steps=4, epochs=1, loading=LoaderFacts(samples=48, batch_size=8, batches=6))
    armed = Armed(Fault("trial.mode", trigger=Trigger.parse(trigger)), registered, clock, profile)
    if made is not None:
        made.append(armed)
    torch.manual_seed(0)
    with Patches() as patches:
        clock.attach(patches)
        early = seam.attach_at == "construct"
        if early:
            hooks.install(armed, patches, Site(type(None)))
        module, data = build()
        trainer = package.Trainer(**{**TRAINER, **arguments})
        armed.ctx.module = module
        if not early:
            hooks.install(armed, patches, Site(type(module), module))
        trainer.fit(module, *data)
        then(trainer, module)
    return SimpleNamespace(armed=armed, trainer=trainer, module=module, activations=armed.activations)


def classifier(namespace: str = BOTH[0], **more: Any) -> Callable[[], tuple[Any, Any]]:
    return lambda: models.classifier(namespace, **more)


def configured() -> tuple[Any, Any]:
    data = TensorDataset(*models._points())
    return equipped.Configured(learning_rate=0.01), (DataLoader(data, batch_size=8), DataLoader(data, batch_size=24))


def probed(module: Any, data: tuple[Any, Any], **arguments: Any) -> TargetProfile:
    clock = LightningClock()
    trainer = importlib.import_module(BOTH[0]).Trainer(**{**TRAINER, **arguments})
    probe = Probe(Site(type(module), module), clock)
    with Patches() as patches:
        clock.attach(patches)
        with probe.watching():
            trainer.fit(module, *data)
    return probe.profile(trainer, 4, 2)

"""After a fault is taken off, everything that a seam may touch is as it was: classes, hooks, globals, random state."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn.modules import module as hooks

from faultlab.catalogue.injection_points import Process
from faultlab.catalogue.requirements import inapplicable
from faultlab.core.fault import Fault
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning import private_api
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.probe import Probe
from faultlab.injection import registry
from faultlab.injection.armed_fault import Armed, BrokenInjector
from faultlab.injection.hooks import Site, attach
from tests.zoo import models

FACTORIES = {"classifier": models.classifier, "regressor": models.regressor, "adversarial": models.adversarial}
TRAINER: dict[str, Any] = {
    "max_epochs": 1,
    "limit_train_batches": 4,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_grad_enabled(True)
    # Lightning itself leaves SIGINT ignored once it was interrupted.
    signal.signal(signal.SIGINT, handler)


def _profile(factory: Any) -> tuple[TargetProfile, pl.Trainer]:
    module, data = factory()
    clock = LightningClock()
    trainer = pl.Trainer(**TRAINER)
    with Patches() as patches:
        clock.attach(patches)
        probe = Probe(Site(type(module), module), clock)
        with probe.watching():
            trainer.fit(module, *data)
    return probe.profile(trainer, 4, 2), trainer


def _touchable(module: Any) -> list[Any]:
    classes = [*type(module).__mro__, torch.Tensor, torch.optim.Optimizer]
    for path in (private_api.EPOCH_LOOP, *private_api.RUNNING_LOOPS, private_api.FETCHER, *private_api.FETCHERS,
                 private_api.OPTIMIZER):  # fmt: skip
        classes.append(private_api.part("pytorch_lightning", path))
    return classes


def _picture(module: Any) -> dict[str, Any]:
    """Identities of every attribute that a seam could have replaced, and of torch's process-wide hooks."""
    picture = {
        f"{cls.__module__}.{cls.__qualname__}.{name}": id(value)
        for cls in _touchable(module)
        for name, value in vars(cls).items()
        if not name.startswith("_abc") and name != "__dict__" and not isinstance(value, ModuleType)
    }
    picture |= {f"instance.{name}": True for name in vars(module) if callable(vars(module)[name])}
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks"):
        picture[name] = list(getattr(hooks, name))
    return picture


def _random_state() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index]


@pytest.fixture(scope="module")
def profiles() -> dict[str, TargetProfile]:
    return {name: _profile(factory)[0] for name, factory in FACTORIES.items()}


@pytest.mark.parametrize("mode", sorted(registry.load()))
def test_it_detaches_without_trace(profiles: dict[str, TargetProfile], mode: str) -> None:
    registered = registry.load()[mode]
    in_pytests_process = registered.mode.point == Process()
    if in_pytests_process or registered.mode.hangs:
        pytest.skip("ends or cripples the process that it runs in, which here is pytest's")
    name = next(name for name in [*FACTORIES, ""] if not name or not inapplicable(registered.mode, profiles[name]))
    if not name:
        pytest.skip("applies to none of these three models; the contract tests run it on a fourth")
    module, data = FACTORIES[name]()
    clock = LightningClock()
    fault = registered.mode.complete(Fault(mode), 4)
    armed = Armed(fault, registered, clock, profiles[name])
    armed.ctx.module = module
    before = _picture(module)
    with Patches() as patches:
        clock.attach(patches)
        with attach(armed, Site(type(module), module)):
            try:
                pl.Trainer(**TRAINER).fit(module, *data)
            except BrokenInjector:
                raise
            except BaseException:  # whatever the fault does to the run is not the question here
                pass
    assert _picture(module) == before


@pytest.mark.parametrize("mode", sorted(registry.load()))
def test_attaching_and_detaching_draws_no_random_number(profiles: dict[str, TargetProfile], mode: str) -> None:
    registered = registry.load()[mode]
    module, _ = models.classifier()
    before = _random_state()
    armed = Armed(registered.mode.complete(Fault(mode), 4), registered, LightningClock(), profiles["classifier"])
    with attach(armed, Site(type(module), module)):
        pass
    assert _random_state() == before

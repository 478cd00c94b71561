"""Targets that `torch.compile` was given: faults act in them, and are judged as in their uncompiled twin."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import faultlab
from faultlab import inject
from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import HeadInput, InjectionPoint, ModuleOutput
from faultlab.core.fault import Fault, Trigger
from faultlab.core.patching import Patches
from faultlab.core.report import Report
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import TargetError
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.probe import Probe
from faultlab.frameworks.lightning.target import Target
from faultlab.injection import compilation
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site, attach
from faultlab.injection.registry import Registered
from tests.injection.test_detach import TRAINER
from tests.zoo import compiled

SELECTED = ["forward.nan", "forward.none", "forward.detached-midway", "layer.activation-removed", "weights.nan"]
SEAMS = [ModuleOutput(), HeadInput()]


pytestmark = pytest.mark.usefixtures("nothing_compiled")


def _fit(
    module: Any, clock: Clock, site: Site, profile: TargetProfile | None, seam: InjectionPoint | None = None
) -> Armed | TargetProfile:
    """Trains; with a seam a fault doubles there what it finds in step 2, without one the target profile is taken."""
    with Patches() as patches:
        clock.attach(patches)
        trainer = pl.Trainer(**TRAINER)
        if seam is None or profile is None:
            probe = Probe(site, clock)
            with probe.watching():
                trainer.fit(module, *compiled.loaders())
            return probe.profile(trainer, 4, 2)
        declared = declare(id="trial.mode", docstring="A trial.", no_evidence="a test", point=seam,
                           severity="minor", effect="silent", cause=("x",))  # fmt: skip
        registered = Registered(declared, lambda value, ctx: value * 2)
        armed = Armed(Fault("trial.mode", trigger=Trigger.parse("@step=2")), registered, clock, profile)
        with attach(armed, site):
            trainer.fit(module, *compiled.loaders())
        return armed


@pytest.mark.parametrize("form", compiled.FORMS)
def test_a_fault_at_a_step_acts_in_what_was_compiled_and_called_before(form: str) -> None:
    module = compilation.written(compiled.model(form))
    site = Site(type(module), module)
    pl.Trainer(**TRAINER).fit(module, *compiled.loaders())
    assert bool(compiled.graphs) == (form != "whole")
    compiled.graphs.clear()
    profile = _fit(module, LightningClock(), site, None)
    assert isinstance(profile, TargetProfile)
    assert profile.forward == ("" if form == "itself" else "network")
    kinds = [part.kind for part in profile.parts.values()]
    assert kinds.count("linear") == 2
    for seam in SEAMS:
        armed = _fit(module, LightningClock(), site, profile, seam)
        assert isinstance(armed, Armed)
        assert (armed.activations, armed.first_step) == (1, 2)
    assert compiled.graphs == []


def test_nothing_is_compiled_while_it_is_lifted_whatever_is_asked_for() -> None:
    network, x = torch.compile(compiled.Network(), backend=compiled.backend), torch.randn(4, 4)
    with compilation.lifted():
        network(x)
        with torch.compiler.set_stance("default"):
            network(x)
        torch.compiler.set_stance("eager_then_compile")
        with compilation.lifted():
            network(x)
        network(x)
        assert compiled.graphs == []
    network(x)
    assert len(compiled.graphs) == 1


def test_hooks_on_all_modules_are_no_news_to_a_compiled_one(recwarn: pytest.WarningsRecorder) -> None:
    network = torch.compile(compiled.Network(), backend=compiled.backend)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with compilation.lifted():
            network(torch.randn(4, 4))
    finally:
        handle.remove()
    assert [str(one.message) for one in recwarn if "global hooks" in str(one.message)] == []


def test_a_module_that_was_compiled_as_a_whole_is_taken_as_it_is_written() -> None:
    whole = compiled.model("whole")
    pl.Trainer(**TRAINER).fit(whole, *compiled.loaders())
    module = compilation.written(whole)
    assert module is whole._orig_mod
    assert not {"forward", "training_step", "validation_step"} & set(vars(module))
    plain = compiled.model()
    plain.forward = own = lambda x: x
    assert compilation.written(plain) is plain
    assert vars(plain)["forward"] is own


def test_a_torch_that_compiles_regardless_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(torch.compiler, "set_stance")
    entry = {"class_path": "tests.zoo.compiled.build", "init_args": {"form": "in place"}}
    with pytest.raises(TargetError, match=r"torch 2\.6"):
        Target({"build": entry, "guards": []}).build(str(tmp_path))
    Target({"build": {**entry, "init_args": {}}, "guards": []}).build(str(tmp_path))
    with compilation.lifted():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a block is rehearsed in a copy of the process")
def test_a_block_of_a_test_suffers_the_fault_in_a_network_that_it_found_compiled() -> None:
    model = compiled.model("wrapped")
    pl.Trainer(**TRAINER).fit(model, *compiled.loaders())
    with inject("forward.nan@step=2", target=type(model)) as fault:
        pl.Trainer(**TRAINER).fit(model, *compiled.loaders())
    assert (fault.activations, fault.first_step) == (1, 2)
    assert model.network.head.weight.isnan().all()


def test_a_layer_that_was_compiled_by_itself_can_be_replaced() -> None:
    """The wrapper calls the layer that it was given, unless it is made anew."""
    from faultlab.frameworks.torch import layers

    model = compiled.model()
    model.network.body[2] = torch.compile(model.network.body[2], backend=compiled.backend)
    inner = model.network.body[2]._orig_mod
    layers.replace(model, inner, torch.nn.Identity())
    with compilation.lifted():
        assert float(model.network.body[2](torch.tensor(-1.0))) == -1.0


def _verdicts(folder: Path, form: str, select: list[str]) -> dict[str, Any]:
    file = folder / "scenario.yaml"
    build = f"{{class_path: tests.zoo.compiled.build, init_args: {{form: '{form}'}}}}"
    file.write_text(f"schema: 1\nname: trial\nbuild: {build}\ntrainer: {{max_epochs: 2}}\n")
    report: Report = faultlab.run(file, select=select, out=folder / f"out-{form}", advice=False)
    found: dict[str, Any] = {}
    for fault in report.faults:
        # Lightning counts modules in one of them, and what `torch.compile` makes of a module is another.
        warnings = [re.sub(r"\d+", "n", text) for text in fault.warnings]
        found[fault.id] = fault.status, fault.reason, fault.activations, warnings, fault.harm and fault.harm.faulty
    return found


@pytest.mark.nightly(
    reason="two campaigns each; the quick ring has a fault in what was compiled in every form, and how it is found"
)
@pytest.mark.parametrize("form", ["wrapped", "whole"])
def test_a_compiled_target_is_judged_as_its_uncompiled_twin(form: str, tmp_path: Path) -> None:
    plain = _verdicts(tmp_path, "", SELECTED)
    assert len(plain) == len(SELECTED)
    assert all(activations for _, _, activations, _, _ in plain.values())
    assert _verdicts(tmp_path, form, SELECTED) == plain


@pytest.mark.nightly(reason="the whole catalogue once more for each form; the quick ring has a fault in each form")
@pytest.mark.parametrize("form", compiled.FORMS[:3])
def test_every_failure_mode_is_judged_on_a_compiled_target_as_on_its_twin(form: str, tmp_path: Path) -> None:
    assert _verdicts(tmp_path, form, ["*"]) == _verdicts(tmp_path, "", ["*"])

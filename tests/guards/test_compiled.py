"""Guards in trainings of compiled networks, which they must not change, break or end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from faultlab import guards
from faultlab.guards import Guard, NormalisationAlive, OutputsVary, SamplesIndependent
from faultlab.guards.support import listening
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.trials import Trial
from tests.guards.rig import Healthy, alarm_of, fit
from tests.zoo import compiled

HEARD = ["wrapped", "in place", "method", "itself"]
MORE = pytest.mark.nightly(reason="more forms; the quick ring has one whose network is compiled and one that is itself")
FORMS = [pytest.param(form, marks=() if form in ("in place", "itself") else MORE) for form in compiled.FORMS]
pytestmark = pytest.mark.usefixtures("nothing_compiled")


def _raise(error: Exception) -> None:
    raise error


def _module(model: Any) -> Any:
    return getattr(model, "_orig_mod", model)


def _trained(form: str, watching: Any, fullgraph: bool = True) -> tuple[list[torch.Tensor], list[int]]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    compiled.graphs.clear()
    model = compiled.model(form, fullgraph)
    fit(watching, model, *compiled.loaders())
    return [*_module(model).parameters(), *_module(model).buffers()], list(compiled.graphs)


@pytest.mark.parametrize("form", FORMS)
def test_guards_change_no_bit_of_a_compiled_training_and_break_no_graph(form: str) -> None:
    alone, graphs = _trained(form, [])
    watched, same_graphs = _trained(form, guards.all("full", action="warn"))
    assert graphs
    assert same_graphs == graphs
    assert all(map(torch.equal, alone, watched))


@pytest.mark.parametrize("form", HEARD)
def test_an_output_of_a_compiled_network_is_heard(form: str) -> None:
    model = compiled.model(form)

    class Breaking(Guard):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                pl_module.network.broken.fill_(torch.nan)

    alarm = alarm_of([Breaking(), OutputsVary()], model, *compiled.loaders())
    assert alarm is not None
    assert alarm.check == "not-finite"
    assert model.global_step == 3


@pytest.mark.parametrize("form", ["in place", "itself"])
def test_guards_leave_the_module_without_hooks(form: str) -> None:
    model = compiled.model(form)
    part = model.network if form == "in place" else model
    before = part._compiled_call_impl
    heard: list[str] = []
    first, second = listening.Ears(_raise), listening.Ears(_raise)
    first.before(part, lambda *_: heard.append("before"))
    second.after(part, lambda *_: heard.append("after"))
    model(torch.randn(2, 4))
    first.off()
    model(torch.randn(2, 4))
    second.off()
    second.off()
    model(torch.randn(2, 4))
    assert heard == ["before", "after", "after"]
    assert part._compiled_call_impl is before


def test_nothing_within_a_compiled_part_is_listened_to() -> None:
    def names(form: str) -> list[str]:
        return [name for name, _ in listening.parts(_module(compiled.model(form)))]

    for form in ("wrapped", "in place", "method"):
        assert names(form) == ["", "network"]
    assert names("itself") == [""]
    assert names("") == [name for name, _ in compiled.model().named_modules()]
    whole = torch.compile(compiled.model(), backend=compiled.backend)
    fit([], whole, *compiled.loaders())
    assert list(listening.parts(whole._orig_mod)) == []


def test_what_is_kept_from_being_compiled_is_listened_to() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(1, 1)

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def forward(self, x: Any) -> Any:
            return self.inner(x)

    assert [name for name, _ in listening.parts(Kept())] == ["", "inner"]


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_of_a_compiled_module_is_its_own_and_compiles_nothing(form: str) -> None:
    model = compiled.model(form)
    trainer = fit([], model, *compiled.loaders())
    module = _module(model)
    seen = module.network.body[1].running_mean.clone()
    batch = next(iter(compiled.loaders()[0]))
    compiled.graphs.clear()
    trial = Trial(module, trainer=view_of(trainer))
    twin = trial.module
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    with trial.running():
        assert twin(batch[0]).abs().sum() == 0
        twin.train()
        assert trial.step(batch, 0) == pytest.approx(0.6931, abs=1e-3)
    assert torch.equal(module.network.body[1].running_mean, seen)
    assert not torch.equal(twin.network.body[1].running_mean, seen)
    assert compiled.graphs == []
    assert module(batch[0]).abs().sum() > 0
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in module.named_parameters()]


def test_samples_that_depend_on_each_other_are_detected_behind_a_compiled_network() -> None:
    class Mixing(compiled.Network):
        def forward(self, x: Any) -> Any:
            return super().forward(x).roll(1, 0)

    model = compiled.model()
    model.network = torch.compile(Mixing(), backend=compiled.backend, fullgraph=True)
    alarm = alarm_of(SamplesIndependent(), model, *compiled.loaders())
    assert alarm is not None
    assert alarm.check == "mixes"


@pytest.mark.nightly(reason="compiles with aot_eager, which takes seconds")
def test_statistics_that_a_compiled_graph_writes_are_allowed_and_others_are_still_watched() -> None:
    class Partly(Healthy):
        """Compiles its body, whose graph writes the statistics at its end, but not the rest."""

        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.body = torch.compile(self.body, backend="aot_eager")
            self.after = nn.BatchNorm1d(2)
            self.wrong = wrong

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.after(super().forward(inputs))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            if self.wrong and batch_idx == 3:
                self.after.running_mean.zero_()
            return loss

    fit(NormalisationAlive(), Partly(wrong=False))
    alarm = alarm_of(NormalisationAlive(), Partly(wrong=True))
    assert alarm is not None
    assert (alarm.check, "in after" in alarm.found) == ("overwritten", True), alarm.found

"""Training loops whose optimizers train several modules."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.report import Status
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.roots import Roots, Together, arguments
from faultlab.frameworks.loops.target import LoopTarget
from tests.frameworks import hand_parts

LINEAR, SEQUENTIAL = "torch.nn.modules.linear.Linear", "torch.nn.modules.container.Sequential"
HEAD, CODER = "tests.frameworks.hand_parts.Head", "tests.frameworks.hand_parts.Coder"


def layout_of(path: str) -> Any:
    return LoopTarget({"train": {"class_path": path}}).layout


@pytest.mark.parametrize(
    ("train", "roots"),
    [
        ("tests.frameworks.hand_parts.in_two_parts", ((SEQUENTIAL, 1), (HEAD, 1))),
        ("tests.frameworks.hand_parts.by_its_parts", ((CODER, 1),)),
        ("scenarios.gan.loop.train", (("scenarios.gan.loop.Generator", 1), ("scenarios.gan.loop.Discriminator", 1))),
    ],
)
def test_every_module_that_an_optimizer_steps_is_known(train: str, roots: Any) -> None:
    assert layout_of(train).roots == roots


def test_faults_reach_each_of_several_modules(tmp_path: Path) -> None:
    lines = [
        "schema: 1",
        "name: parts",
        "framework: torch",
        "train: {class_path: tests.frameworks.hand_parts.in_two_parts}",
        "evaluate: {class_path: tests.frameworks.hand_parts.evaluate_parts}",
        "monitor: {metric: val_loss, mode: min}",
    ]
    (tmp_path / "loop.yaml").write_text("\n".join(lines))
    faults = [
        "weights.all-frozen",
        "weights.nan@step=3",
        "gradient.zero",
        "init.zero",
        "layer.unregistered",
        "weights.bias-removed",
        "mode.eval-in-training",
        "mode.training-in-validation",
        "optimizer.drops-update",
        "forward.nan@step=2",
    ]
    report = api.run(load(tmp_path / "loop.yaml"), select=faults, out=tmp_path / "out", advice=False)
    assert report.reasons == []
    found = {fault.mode: fault for fault in report.faults}
    assert {mode: fault.reason for mode, fault in found.items() if fault.status is Status.NOT_APPLICABLE} == {}
    assert "does not require grad" in found["weights.all-frozen"].detected_by[0].message
    for mode in ("weights.nan", "gradient.zero", "init.zero", "optimizer.drops-update"):
        assert (found[mode].status, found[mode].harm.harmful) == (Status.SILENT, True), mode
    assert found["gradient.zero"].harm.faulty == found["optimizer.drops-update"].harm.faulty
    assert (found["weights.nan"].first_step, found["forward.nan"].first_step) == (3, 2)
    assert found["mode.training-in-validation"].activations > 0


def roots_of(*modules: nn.Module) -> Roots:
    paths = [(str(number), 1) for number, _ in enumerate(modules)]
    roots = Roots(paths)
    for (path, _), module in zip(paths, modules):
        roots.constructed(module, path)
    return roots


def test_several_modules_are_one_for_what_looks_at_all_their_layers() -> None:
    first, second = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1))
    together = roots_of(first, second).module
    assert isinstance(together, Together)
    assert [name for name, _ in together.named_parameters()] == [
        "linear.weight",
        "linear.bias",
        "sequential.0.weight",
        "sequential.0.bias",
    ]
    together.eval()
    assert (first.training, second.training, together.training) == (False, False, False)
    second.train()
    assert together.training


def test_two_modules_of_one_class_have_different_names() -> None:
    names = [name for name, _ in Together([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU()]).named_children()]
    assert names == ["linear", "linear2", "relu"]


def test_a_module_that_takes_the_place_of_another_is_what_the_loop_calls() -> None:
    held, other = nn.Linear(2, 2), nn.Linear(2, 2)
    roots = roots_of(held, other)
    together = roots.module
    assert together is not None
    points, before = torch.ones(1, 2), held(torch.ones(1, 2))
    together.linear = nn.Sequential(held, nn.Sigmoid())
    originals = roots.replace()
    assert isinstance(held, nn.Sequential)
    assert torch.equal(held(points), before.sigmoid())
    assert torch.equal(originals["linear"](points), before)
    assert together.linear is held


def test_the_guards_of_a_campaign_watch_every_module_with_its_optimizer() -> None:
    first, second, other = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (first, second, other)]
    begun: list[Any] = []
    stepped: list[Any] = []
    hooks = {
        "on_train_batch_start": lambda view, module, batch, number: begun.append((view, module)),
        "on_before_optimizer_step": lambda view, module, optimizer: stepped.append(optimizer),
    }
    advising = Advising(hooks, batches=False)
    advising.begin([first, second], optimizers)
    for _ in range(2):
        second(first(torch.ones(1, 4))).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    advising.end(None)
    assert len(begun) == 2
    (view, module), _ = begun
    assert [name for name, _ in module.named_parameters()] == [
        "linear.weight",
        "linear.bias",
        "linear2.weight",
        "linear2.bias",
    ]
    assert list(view.optimizers) == optimizers[:2]
    assert stepped == optimizers[:2] * 2
    assert not module.automatic_optimization


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda module: None, ["Sequential"]),
        (lambda head, encoder: None, ["Head", "Sequential"]),
        (hand_parts.evaluate_parts, ["Head", "Sequential"]),
        (lambda first, second: None, ["Sequential", "Head"]),
        (lambda first, second, third: None, ["Sequential", "Head"]),
    ],
)
def test_an_evaluation_gets_the_modules_that_it_names(function: Any, given: list[str]) -> None:
    modules = [nn.Sequential(), hand_parts.Head(1, 1)]
    parameters = list(inspect.signature(function).parameters.values())
    assert [type(module).__name__ for module in arguments(parameters, modules)] == given

"""A framework of one file: a trainer made up for the tests, and all that faultlab has to be told of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules

from faultlab.config.variations import Variation
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.core.user_code import UserCode
from faultlab.frameworks.base import Assembly, BuildAgain, Framework
from faultlab.frameworks.foreign import Foreign
from faultlab.frameworks.profiling import Profiling
from faultlab.frameworks.torch import layers
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import offered
from faultlab.injection.mutant_activation import Executions
from faultlab.sandbox.overlay import Overlay


class ToyTrainer:
    """Trains a module that computes its own ``loss`` of a batch."""

    def __init__(self, epochs: int = 2, rate: float = 0.1, callbacks: Collection[Any] = ()) -> None:
        self.epochs, self.rate, self.callbacks = epochs, rate, list(callbacks)
        self.epoch = 0

    def fit(self, module: Any, batches: list[Any]) -> None:
        optimizer = torch.optim.SGD(module.parameters(), self.rate)
        for epoch in range(self.epochs):
            self.epoch = epoch
            for batch in batches:
                self.begin_step()
                loss = module.loss(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.end_step(float(loss))

    def begin_step(self) -> None:
        """A step begins."""

    def end_step(self, loss: float) -> None:
        for callback in self.callbacks:
            callback.on_step(self, loss)


class Line(nn.Module):
    """Learns a plane, by a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(torch.relu(self.hidden(inputs)))
        return output

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self(inputs), targets)


def plane() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Eight batches of points of a plane."""
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    return list(zip(inputs.split(8), (inputs @ torch.tensor([[1.0], [-2.0], [0.5]])).split(8)))


class FiniteLoss:
    """A guard: ends the training at a loss that is not finite."""

    def on_step(self, trainer: ToyTrainer, loss: float) -> None:
        if loss - loss != 0:
            raise ArithmeticError(f"the loss is {loss}")


class ToyClock(Clock):
    """Counts the steps that toy trainers begin."""

    def attach(self, patches: Patches) -> None:
        def ticking(begin: Callable[..., Any]) -> Callable[..., Any]:
            def begins(trainer: ToyTrainer) -> None:
                self.trainer = trainer
                self.tick()
                begin(trainer)

            return begins

        patches.wrap(ToyTrainer, "begin_step", ticking)

    @property
    def epoch(self) -> int:
        return int(getattr(self.trainer, "epoch", 0))


@dataclass
class ToyBuilt:
    module: Any
    batches: list[Any]
    trainer: dict[str, Any]
    guards: dict[str, Any] = field(default_factory=dict)


class ToyTarget:
    flags: Mapping[str, Any] = {}
    executions: Executions | None = None

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        self._scenario = scenario

    @property
    def framework(self) -> Framework:
        return FRAMEWORK

    @property
    def code(self) -> UserCode:
        return UserCode(frozenset({"tests"}), ())

    def build(self, root: str, with_flags: bool = True, variation: Variation | None = None) -> ToyBuilt:
        guards = {_name(guard): _made(guard) for guard in self._scenario.get("guards", [])}
        module, batches = _made(self._scenario["module"]), _made(self._scenario["data"])
        return ToyBuilt(module, batches, dict(self._scenario.get("trainer") or {}), guards)


class ToyProfiling:
    """Notes the parts that the first step calls."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._parts: dict[str, Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        names = {id(part): name for name, part in self._module.named_modules() if name}

        def called(part: nn.Module, args: Any, output: Any) -> None:
            if id(part) in names:
                self._parts.setdefault(names[id(part)], layers.part(part, args, output))

        handle = modules.register_module_forward_hook(called)
        yield
        handle.remove()

    def given(self, batch: Any) -> None:
        raise NotImplementedError

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        return TargetProfile(
            framework="toy",
            seams=offered("toy"),
            module=f"{type(self._module).__module__}.{type(self._module).__qualname__}",
            forward="",
            taught_head=True,
            hooks=("forward", "Optimizer.zero_grad"),
            losses=1,
            output="tensor",
            steps=steps,
            epochs=trainer.epochs,
            parts=self._parts,
            layers=tuple(self._parts),
            trainable_layers=len(self._parts),
            optimizers=("SGD",),
            optimized_tensors=len(list(self._module.parameters())),
            updates=steps,
            learning_rate=trainer.rate,
        )


class ToyTraining:
    def __init__(self, built: ToyBuilt, wanted: Assembly) -> None:
        self.module = built.module
        self._built = built
        self._trajectory, self._clock = wanted.trajectory, wanted.clock
        settings = {**built.trainer, **wanted.changed}
        self._trainer = ToyTrainer(**settings, callbacks=[*built.guards.values(), self])

    @property
    def guards(self) -> Mapping[str, Any]:
        return self._built.guards

    def on_step(self, trainer: ToyTrainer, loss: float) -> None:
        self._trajectory.steps += 1
        self._trajectory.epochs = trainer.epoch + 1
        self._trajectory.losses.append((self._clock.step, loss))

    def run(self) -> None:
        self._trainer.fit(self.module, self._built.batches)

    def step(self) -> tuple[Any, str] | None:
        return type(self.module), "loss"

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """It writes nothing."""

    def named_folders(self) -> list[str]:
        return []

    def regroup(self, group: Any) -> None:
        """This framework trains in one process."""

    def relocate(self, old_root: str, new_root: str) -> None:
        """It was told of no folder."""

    def watch_loggers(self, patches: Patches) -> None:
        """It has none."""

    def profiling(self) -> ToyProfiling:
        return ToyProfiling(self.module)

    def profile(self, learnt: Profiling) -> TargetProfile:
        return learnt.profile(self._trainer, self._trajectory.steps, 0)

    def resume(self, epochs: int, build_again: BuildAgain) -> ToyTraining:
        raise NotImplementedError("it keeps no checkpoints")

    def evaluate_best(self, build_again: BuildAgain) -> None:
        raise NotImplementedError("it keeps no checkpoints")

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        return {}

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        with torch.no_grad():
            return {"loss": sum(float(self.module.loss(batch)) for batch in self._built.batches)}

    def parts(self) -> Iterator[Any]:
        yield self.module

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}


class Toy:
    name = "toy"
    joins = False
    foreign: Foreign = None  # type: ignore[assignment]  # no suite of tests is run by it

    def target(self, scenario: Mapping[str, Any]) -> ToyTarget:
        return ToyTarget(scenario)

    def assemble(self, built: ToyBuilt, wanted: Assembly) -> ToyTraining:
        return ToyTraining(built, wanted)

    def clock(self) -> ToyClock:
        return ToyClock()

    def hooks_of(self, guard: Any) -> Collection[str]:
        return ["on_step"] if hasattr(guard, "on_step") else []

    def find_plugins_once(self) -> None:
        """It has none."""

    def warm_up(self) -> None:
        """It sets nothing up at first."""


FRAMEWORK: Framework = Toy()


def _made(entry: Mapping[str, Any]) -> Any:
    module, _, name = entry["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**(entry.get("init_args") or {}))


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["class_path"].rpartition(".")[2])

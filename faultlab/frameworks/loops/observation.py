"""What is seen in one clean run of a training loop, and the layout that it shows."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from faultlab.core import packages
from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.loops import iteration, trainers
from faultlab.frameworks.loops.layout import Layout, key_of
from faultlab.frameworks.loops.sources import Sources, roles
from faultlab.frameworks.loops.stepped import Seen, Stepped, in_turn, together
from faultlab.frameworks.torch.wrappers import unwrapped

_BY_HAND = "A loop that changes its weights by hand is out of reach: step an optimizer, such as torch.optim.SGD."
_LAUNCHERS = ("torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate launch", "deepspeed")
_NO_TRAINING = "Name the script or function that builds the model and trains it, in this process."


class Observation:
    """Watches which modules are called, which of their parameters are optimized, and which batches are learnt from."""

    def __init__(self) -> None:
        self._numbers: dict[type, int] = {}
        self._met: dict[type, int] = {}
        self._modules: dict[int, tuple[nn.Module, int]] = {}
        self._called: dict[int, nn.Module] = {}
        self._outermost: dict[int, nn.Module] = {}
        self._stepped: dict[int, Stepped] = {}
        self._optimizers: list[torch.optim.Optimizer] = []
        self._steps = 0
        self._started: list[str] = []
        self._sources = Sources()
        self._backwards = False
        self._depth = 0
        self._classes: set[type] = set()
        self._wrapped: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()

    @property
    def step(self) -> int:
        """The number of optimizer steps so far."""
        return self._steps

    def attach(self, patches: Patches) -> None:
        """Watch the process until the patches are closed."""
        patches.wrap(nn.Module, "__init__", self._constructing)
        patches.wrap(nn.Module, "__call__", self._calling)
        patches.wrap(torch.optim.Optimizer, "__init__", lambda construct: self._optimizing(construct, patches))
        iteration.replace(patches, self._iterating, self._handing_on)
        patches.wrap(subprocess.Popen, "__init__", self._starting)
        patches.wrap(BaseProcess, "start", self._starting)
        # Which `Tensor.backward` calls, too.
        patches.wrap(torch.autograd, "backward", self._backward)

    def layout(self) -> Layout:
        """Return what was seen of the first training, which is all of it unless trainings of other modules follow.

        Raises:
            TargetError: No module was trained.
        """
        if not self._stepped:
            elsewhere = f" in this process: it started {self._started[0]}" if self._started else ""
            message = f"no optimizer of torch's was stepped while it ran{elsewhere}"
            by_hand = ", although backward was called" if self._backwards and not elsewhere else ""
            remedy = _BY_HAND if by_hand else _launched(self._started) or _without_optimizer()
            raise TargetError(("train",), message + by_hand, remedy)
        whole = together(list(self._stepped.values()))
        if not (roots := self._roots(whole)):
            remedy = "Call the model itself, as in `model(x)`, and give its parameters to the optimizer."
            raise TargetError(("train",), "no module was called whose parameters an optimizer holds", remedy)
        # Parts of one module that are trained in turn are one training.
        trainings = self._in_turn() if len(roots) > 1 else []
        if len(trainings) < 2:
            return self._layout(whole, roots)
        (stepped, first), (_, following), *_ = trainings
        return replace(self._layout(stepped, first), until=self._named(following[0]))

    def trainings(self) -> list[Seen]:
        """Return the trainings that followed each other, in their order. What had no root module is left out."""
        return [Seen(self._layout(stepped, roots), stepped.updates) for stepped, roots in self._in_turn()]

    def _in_turn(self) -> list[tuple[Stepped, list[nn.Module]]]:
        found: list[tuple[Stepped, list[nn.Module]]] = []
        for stepped in in_turn(self._stepped.values()):
            roots = self._roots(stepped)
            if found and any(root is other for root in roots for other in found[-1][1]):
                # Another optimizer for another part of it.
                stepped = together([found.pop()[0], stepped])
                roots = self._roots(stepped)
            if roots:
                found.append((stepped, roots))
        return found

    def called(self) -> list[tuple[str, int]]:
        """Return the class path and number of each module with parameters that was called by itself, in this order."""
        modules = [module for module in self._outermost.values() if next(module.parameters(), None) is not None]
        return [self._named(module) for module in modules]

    def _named(self, module: nn.Module) -> tuple[str, int]:
        """Return the class path of a module, and its number among those of its class."""
        return path_of(type(module)), self._modules[id(module)][1]

    def _layout(self, stepped: Stepped, roots: list[nn.Module]) -> Layout:
        learnt = self._sources.learnt(stepped.numbers)
        found = roles(learnt)
        known = {*found.counting, *found.beside, *found.aside}
        others = tuple(key for key in self._sources.iterated if key not in known)
        # Steps begin where the Trainer says so.
        ahead = self._sources.ahead(found.counting[0]) if found.counting and not stepped.trainer else 0
        repeats = len(learnt) == 1 < stepped.updates
        paths = tuple(map(self._named, roots))
        return Layout(paths, found.counting, others, ahead, stepped.trainer, repeats, found.beside, found.aside)

    def _roots(self, stepped: Stepped) -> list[nn.Module]:
        """Return the modules that were called by themselves and have the parameters that were stepped."""
        trained: list[nn.Module] = []
        covered: set[int] = set()
        sizes = {id(module): _size(module, stepped.held) for module in self._called.values()}
        for module in sorted(self._called.values(), key=lambda module: sizes[id(module)], reverse=True):
            held = {id(parameter) for parameter in module.parameters()} & stepped.held.keys()
            if held - covered:
                trained.append(module)
                covered |= held
        whole = self._holding(trained, stepped.existing)
        return trained if whole is None else [whole]

    def _holding(self, trained: list[nn.Module], existing: int) -> nn.Module | None:
        """Return the smallest module that several are parts of, which the loop calls one by one; None without one."""
        wanted = set(map(id, trained))
        # Not one that is only made of them later, as for an evaluation.
        first = itertools.islice(self._modules.values(), existing)
        whole = [module for module, _ in first if len(trained) > 1 and wanted <= _parts(module)]
        return min(whole, key=lambda module: len(_parts(module)), default=None)

    def _starting(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def starting(process: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(process, BaseProcess):
                command = args[0] if args else kwargs["args"]
                self._started.append(repr(command if isinstance(command, str) else shlex.join(map(str, command))))
            # The workers of a loader don't train.
            elif (called := getattr(getattr(process, "_target", None), "__qualname__", "")) != "_worker_loop":
                self._started.append(f"a process that calls {called or type(process).__name__}")
            return start(process, *args, **kwargs)

        return starting

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            known = "_parameters" in vars(module)
            construct(module, *args, **kwargs)
            if not known:
                number = self._numbers[type(module)] = self._numbers.get(type(module), 0) + 1
                self._modules[id(module)] = module, number

        return constructing

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not self._depth:
                self._from_outside(module)
            self._depth += 1
            try:
                return call(module, *args, **kwargs)
            finally:
                self._depth -= 1

        return calling

    def _from_outside(self, module: nn.Module) -> None:
        own = unwrapped(module)
        if id(own) not in self._modules:
            number = self._met[type(own)] = self._met.get(type(own), 0) + 1
            self._modules[id(own)] = own, -number
        self._outermost.setdefault(id(own), own)
        if torch.is_grad_enabled():
            self._called.setdefault(id(own), own)
            self._sources.called()
        else:
            self._sources.evaluated()

    def _optimizing(self, construct: Callable[..., Any], patches: Patches) -> Callable[..., Any]:
        def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            if type(optimizer) not in self._classes:
                self._classes.add(type(optimizer))
                patches.wrap(type(optimizer), "step", self._stepping)

        return making

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            if id(optimizer) not in self._stepped:
                # Ids are only unique among living objects.
                self._optimizers.append(optimizer)
                self._stepped[id(optimizer)] = Stepped(len(self._modules), trainers.running())
            # Whatever has computed the gradients, as `torch.autograd.grad` may.
            self._sources.learn(self._steps)
            self._stepped[id(optimizer)].step(optimizer, self._steps)
            self._steps += 1
            return step(optimizer, *args, **kwargs)

        return stepping

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: DataLoader[Any]) -> Iterator[Any]:
            batches = iterate(loader)
            return batches if loader in self._wrapped else self._sources.noted(key_of(loader), batches)

        return iterating

    def _handing_on(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def handing_on(wrapper: Any) -> Iterator[Any]:
            inner = iteration.inner(wrapper)
            self._wrapped.add(inner)
            return self._sources.noted(key_of(inner), iterate(wrapper))

        return handing_on

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(*args: Any, **kwargs: Any) -> Any:
            self._backwards = True
            self._sources.learn(self._steps)
            return backward(*args, **kwargs)

        return backwards


def _launched(started: Sequence[str]) -> str:
    """Return the remedy for a training that other processes do; empty if it started none."""
    if any(launcher in one for one in started for launcher in _LAUNCHERS):
        return "Name the script that it launches, with `ranks: 2` for two processes: faultlab starts the ranks itself."
    if started:
        return (
            f"{_NO_TRAINING} If each of its processes is a rank, start them by torch.multiprocessing.spawn, or read "
            "the rank from RANK as under torchrun, and set `ranks`."
        )
    return ""


def _without_optimizer() -> str:
    for package, name in packages.OWN_OPTIMIZERS.items():
        if package in sys.modules:
            return f"{name} has optimizers of its own, out of reach of faultlab; it can break a loop with torch.optim."
    return _NO_TRAINING


def _size(module: nn.Module, held: Mapping[int, int]) -> int:
    """Return the number of a module's parameters that an optimizer holds."""
    return sum(held.get(id(parameter), 0) for parameter in module.parameters())


def _parts(module: nn.Module) -> set[int]:
    return set(map(id, module.modules()))

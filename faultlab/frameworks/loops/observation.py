"""One observed clean run of a training loop, in a process of its own, which shows the loop's layout."""

from __future__ import annotations

import itertools
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import DataLoader

from faultlab.core import packages
from faultlab.core.alert import safe_text
from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.loops import iteration, trainers
from faultlab.frameworks.loops.layout import Layout, key_of
from faultlab.frameworks.loops.stepped import Seen, Stepped, in_turn, together
from faultlab.frameworks.torch.wrappers import unwrapped
from faultlab.injection import compilation, mutant_activation
from faultlab.sandbox import file_calls

_DEADLINE = 600.0
"""Seconds that the observed run may take."""

_NO_TRAINING = "Call the function that builds the model and trains it, in this process."


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
        self._iterated: dict[str, None] = {}
        self._pending: list[str] = []
        self._lately: Counter[str] = Counter()
        self._fetched: dict[str, list[int]] = {}
        self._since: dict[str, int] = {}
        self._depth = 0
        self._classes: set[type] = set()

    def attach(self, patches: Patches) -> None:
        """Watch the process until the patches are closed."""
        patches.wrap(nn.Module, "__init__", self._constructing)
        patches.wrap(nn.Module, "__call__", self._calling)
        patches.wrap(torch.optim.Optimizer, "__init__", lambda construct: self._optimizing(construct, patches))
        iteration.replace(patches, self._iterating)
        patches.wrap(subprocess.Popen, "__init__", self._starting)
        patches.wrap(BaseProcess, "start", self._starting)
        # Which `Tensor.backward` calls, too.
        patches.wrap(torch.autograd, "backward", self._backward)

    def layout(self) -> Layout:
        """Return what was seen, all of it as one training.

        Raises:
            TargetError: No module was trained.
        """
        if not self._stepped:
            elsewhere = f" in this process: it started {self._started[0]}" if self._started else ""
            message = f"no optimizer of torch's was stepped while it ran{elsewhere}"
            raise TargetError(("train",), message, _without_optimizer())
        whole = together(list(self._stepped.values()))
        if not (roots := self._roots(whole)):
            remedy = "Call the model itself, as in `model(x)`, and give its parameters to the optimizer."
            raise TargetError(("train",), "no module was called whose parameters an optimizer holds", remedy)
        return self._layout(whole, roots, tuple(whole.batches))

    def trainings(self) -> list[Seen]:
        """Return the trainings that followed each other, in their order. What had no root module is left out."""
        found: list[tuple[Stepped, list[nn.Module]]] = []
        for stepped in in_turn(self._stepped.values()):
            roots = self._roots(stepped)
            if found and any(root is other for root in roots for other in found[-1][1]):
                # Another optimizer for another part of it.
                stepped = together([found.pop()[0], stepped])
                roots = self._roots(stepped)
            if roots:
                found.append((stepped, roots))
        seen = []
        for stepped, roots in found:
            # The loader with the most batches counts the steps.
            keys = tuple(key for key, _ in stepped.batches.most_common())
            seen.append(Seen(self._layout(stepped, roots, keys), stepped.updates))
        return seen

    def called(self) -> list[tuple[str, int]]:
        """Return the class path and number of each module with parameters that was called by itself, in this order."""
        modules = [module for module in self._outermost.values() if next(module.parameters(), None) is not None]
        return [(path_of(type(module)), self._modules[id(module)][1]) for module in modules]

    def _layout(self, stepped: Stepped, roots: list[nn.Module], keys: tuple[str, ...]) -> Layout:
        paths = tuple((path_of(type(module)), self._modules[id(module)][1]) for module in roots)
        others = tuple(key for key in self._iterated if key not in keys)
        # Steps begin where the Trainer says so.
        fetched = self._fetched.get(keys[0], []) if keys and not stepped.trainer else []
        repeats = sum(stepped.batches.values()) == 1 < stepped.updates
        return Layout(paths, keys, others, _ahead(fetched), stepped.trainer, repeats)

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
            for key, number in self._since.items():
                self._fetched.setdefault(key, []).append(number)
            self._since = {}
        else:
            # An evaluation, which may be left half-way.
            self._pending = []

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
                self._stepped[id(optimizer)] = Stepped(self._steps, len(self._modules), trainers.running())
            # Whatever has computed the gradients, as `torch.autograd.grad` may.
            self._learn()
            self._stepped[id(optimizer)].step(optimizer, self._steps, self._lately)
            self._steps += 1
            self._lately.clear()
            return step(optimizer, *args, **kwargs)

        return stepping

    def _learn(self) -> None:
        """Note that the batches so far are learnt from."""
        self._lately.update(self._pending)
        self._pending = []

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: DataLoader[Any]) -> Iterator[Any]:
            key, batches = key_of(loader), iterate(loader)
            self._iterated[key] = None

            def noted() -> Iterator[Any]:
                for batch in batches:
                    self._pending.append(key)
                    self._since[key] = self._since.get(key, 0) + 1
                    yield batch
                # What was iterated to its end without a backward was evaluated.
                self._pending = [other for other in self._pending if other != key]

            return noted()

        return iterating

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(*args: Any, **kwargs: Any) -> Any:
            self._learn()
            return backward(*args, **kwargs)

        return backwards


def _without_optimizer() -> str:
    for package, name in packages.OWN_OPTIMIZERS.items():
        if package in sys.modules:
            return f"{name} has optimizers of its own, out of reach of faultlab; it can break a loop with torch.optim."
    return _NO_TRAINING


def _size(module: nn.Module, held: Mapping[int, int]) -> int:
    """Return the number of a module's parameters that an optimizer holds."""
    return sum(held.get(id(parameter), 0) for parameter in module.parameters())


def _ahead(fetched: list[int]) -> int:
    """Return how many batches are fetched ahead, by the numbers fetched before each forward: 2, 1, 1, 1 is one."""
    first, *others = fetched[:3] or [1]
    return first - 1 if others and set(others) == {1} else 0


def _parts(module: nn.Module) -> set[int]:
    return set(map(id, module.modules()))


def observe(train: Callable[[], object], folders: Sequence[str]) -> Layout:
    """Run ``train`` in a copy of this process and return the layout of its loop.

    Args:
        train: Trains to its end.
        folders: The user's folders, which nothing is written to.

    Raises:
        TargetError: It trains nothing, raises, exits, or takes longer than ten minutes.
    """
    reading, writing = os.pipe()
    root = tempfile.mkdtemp(prefix="faultlab-observed-")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _in_copy(train, folders, root, writing)
    os.close(writing)
    try:
        told = _read(reading, pid)
    finally:
        os.close(reading)
        shutil.rmtree(root, ignore_errors=True)
    if "error" in told:
        raise TargetError(("train",), told["error"], told["remedy"])
    return Layout.from_json(told)


def _in_copy(train: Callable[[], object], folders: Sequence[str], root: str, writing: int) -> NoReturn:
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writing, json.dumps(_observed(train, folders, root)).encode())
    finally:
        # Nothing of the parent's is to be flushed or finalized here.
        os._exit(0)


def _observed(train: Callable[[], object], folders: Sequence[str], root: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    observation = Observation()
    mutant_activation.rest()
    try:
        redirected = file_calls.redirected(os.path.join(root, "files"), [os.getcwd(), *folders])
        with compilation.lifted(), redirected, Patches() as patches:
            observation.attach(patches)
            train()
        return observation.layout().to_json()
    except TargetError as error:
        return {"error": error.message, "remedy": error.remedy}
    except BaseException as error:
        message = f"the clean run ends with {type(error).__name__}: {safe_text(error)}"
        return {"error": message, "remedy": "It has to train to its end before it can be broken."}


def _read(reading: int, pid: int) -> dict[str, Any]:
    text, deadline = b"", time.monotonic() + _DEADLINE
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        part = os.read(reading, 1 << 16)
        if not part:
            os.waitpid(pid, 0)
            if text:
                told: dict[str, Any] = json.loads(text)
                return told
            return {"error": "the process of the clean run died", "remedy": "Run it by itself and see how it ends."}
        text += part
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"error": f"the clean run takes more than {_DEADLINE:.0f} s", "remedy": "Give it less data or fewer epochs."}

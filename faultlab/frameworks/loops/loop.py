"""A training loop in progress: follows its module, optimizers, schedulers and loaders from before they are made.

What objects capture when they are constructed (a scheduler captures its optimizer's ``step``, a ``for`` statement its
iterator) can't be replaced later, so it is replaced from the beginning and asks the loop what to do. A fault that is
armed half-way only adds to the loop's lists.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops import criteria, iteration
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.layout import Layout, key_of
from faultlab.injection.values import Stream

Step = Callable[[Any], Any]
"""Steps an optimizer with the closure that it is given (None for none)."""


class Loop:
    """A training loop as its run follows it.

    Args:
        layout: Recognizes the parts of the loop.
        trajectory: Receives steps, losses, learning rates and batches.
        begin: Called as a training step begins.
        take_back: Called if a training step has no batch after all.
        own_step: The owner and name of the user's training step, None if the scenario names none.
        advising: Calls the ready-made guards, which watch the loop.
    """

    def __init__(
        self,
        layout: Layout,
        trajectory: Trajectory,
        begin: Callable[[], None],
        take_back: Callable[[], None],
        own_step: tuple[Any, str] | None = None,
        advising: Advising | None = None,
    ) -> None:
        self.layout = layout
        self.own_step = own_step
        self.module: nn.Module | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[Any] = []
        self.loaders: dict[str, DataLoader[Any]] = {}
        self.stage = "train"
        # What faults and the probe add: see the hooks in `faultlab.frameworks.loops.seams`.
        self.when_constructed: list[Callable[[], None]] = []
        self.when_configured: list[Callable[[], None]] = []
        self.before_forward: list[Callable[[], None]] = []
        self.before_evaluation: list[Callable[[], None]] = []
        self.loader_maps: list[Callable[[DataLoader[Any], str], DataLoader[Any]]] = []
        self.stream_maps: list[Callable[[Stream, str], Stream]] = []
        self.batch_maps: list[Callable[[Any, str], Any]] = []
        self.loss_maps: list[Callable[[str, Any], Any]] = []
        self.around_step: list[Callable[[torch.optim.Optimizer, Any, Step], Any]] = []
        self._trajectory = trajectory
        self._begin, self._take_back = begin, take_back
        self.advising = advising or Advising({}, False)
        self._constructed = 0
        self._inner: weakref.WeakKeyDictionary[Any, DataLoader[Any]] = weakref.WeakKeyDictionary()
        self._rates: dict[tuple[int, int], float] = {}
        self._inside = self._stepping_now = False
        self._forward_due = True
        self._evaluation_due = False
        self._stepped: set[type] = set()
        self._really_stepped: set[int] = set()
        self._patches: Patches | None = None

    @property
    def inside(self) -> bool:
        """True while the root module is being called."""
        return self._inside

    @property
    def epochs(self) -> int:
        """How often the loader that counts the steps was iterated."""
        return self._trajectory.epochs

    @property
    def updates(self) -> int:
        """The number of optimizer steps."""
        return self._trajectory.global_step

    @property
    def steps_begun(self) -> bool:
        """True if a training step has begun."""
        return self._trajectory.steps > 0

    @property
    def step(self) -> int:
        """The number of the training step in progress."""
        return max(0, self._trajectory.steps - 1)

    def attach(self, patches: Patches) -> None:
        """Follow whatever the process trains from now on, until the patches are closed."""
        self._patches = patches
        patches.wrap(nn.Module, "__init__", self._constructing)
        patches.wrap(nn.Module, "__call__", self._calling)
        patches.wrap(torch.optim.Optimizer, "__init__", self._making_optimizer)
        for scheduler in (LRScheduler, ReduceLROnPlateau):
            patches.wrap(scheduler, "__init__", self._making_scheduler)
        iteration.replace(patches, self._iterating)
        criteria.replace(patches, self._loss_computed)
        # Which `Tensor.backward` calls, too.
        patches.wrap(torch.autograd, "backward", self._backward)

    def begin_step(self) -> None:
        """Note that a training step begins."""
        if not self._trajectory.steps:
            self._notify_once(self.when_constructed)
            self._notify_once(self.when_configured)
        self._forward_due = True
        self._trajectory.steps += 1
        self._begin()
        if self.module is not None:
            self.advising.begin(self.module, self.optimizers)

    def take_back(self) -> None:
        """Note that the step that has just begun has no batch."""
        self._trajectory.steps -= 1
        self._take_back()

    def delivered(self, stage: str) -> None:
        """Note that a batch was delivered."""
        if stage == "validate":
            self._trajectory.validation_batches += 1
            self._evaluation_due = True

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            # A class with several bases may call this more than once for one module.
            known = "_parameters" in vars(module)
            construct(module, *args, **kwargs)
            if not known and path_of(type(module)) == self.layout.root:
                self._constructed += 1
                if self._constructed == self.layout.number:
                    self.module = module

        return constructing

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if module is not self.module or self._inside:
                return call(module, *args, **kwargs)
            self._inside = True
            try:
                if self.stage == "train" and torch.is_grad_enabled():
                    self._root_called()
                elif self._evaluation_due:
                    self._evaluation_due = False
                    self._tell(self.before_evaluation)
                return call(module, *args, **kwargs)
            finally:
                self._inside = False

        return calling

    def _root_called(self) -> None:
        if not self.layout.training and self._forward_due:
            self.begin_step()
        if self._forward_due:
            self._forward_due = False
            self._tell(self.before_forward)

    def _tell(self, listeners: list[Callable[[], None]]) -> None:
        for listener in list(listeners):
            listener()

    def _making_optimizer(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            self._notify_once(self.when_constructed)
            construct(optimizer, *args, **kwargs)
            if not any(optimizer is known for known in self.optimizers):
                self.optimizers.append(optimizer)
                if self.module is not None:
                    self.advising.made(optimizer, self.module)
            cls = type(optimizer)
            if cls not in self._stepped and self._patches is not None:
                # Before a scheduler captures it.
                self._stepped.add(cls)
                self._patches.wrap(cls, "step", self._stepping)

        return making

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            # A class inherits the step of another whose step is replaced too.
            if self._stepping_now:
                return step(optimizer, *args, **kwargs)
            self._stepping_now = True
            try:
                closure = args[0] if args else kwargs.pop("closure", None)
                others = args[1:]

                def genuine(own: Any) -> Any:
                    self._really_stepped.add(id(optimizer))
                    return step(optimizer, *((own, *others) if own is not None or others else ()), **kwargs)

                self._note_rates()
                result = self.around_step[-1](optimizer, closure, genuine) if self.around_step else genuine(closure)
            finally:
                self._stepping_now = False
            if id(optimizer) not in self._really_stepped:
                # What a scheduler has put around the step takes it for called, and would not warn.
                optimizer._opt_called = False  # type: ignore[attr-defined]
            self._trajectory.global_step += 1
            if not self.layout.training:
                self._forward_due = True
            return result

        return stepping

    def _note_rates(self) -> None:
        for number, optimizer in enumerate(self.optimizers):
            for index, group in enumerate(optimizer.param_groups):
                rate = float(group.get("lr") or 0.0)
                if rate != self._rates.get((number, index)):
                    self._rates[number, index] = rate
                    self._trajectory.learning_rates.append((self.step, rate))

    def _making_scheduler(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            if not any(scheduler is known for known in self.schedulers):
                self.schedulers.append(scheduler)
            construct(scheduler, *args, **kwargs)

        return making

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: DataLoader[Any]) -> Iterator[Any]:
            key = key_of(loader)
            stage = self.layout.stage(key)
            # As it was before a fault: it may be iterated again in every epoch.
            inner = self._inner.setdefault(loader, iteration.inner(loader))
            self.loaders.setdefault(key, inner)
            if counts := bool(self.layout.training) and key == self.layout.training[0]:
                self._trajectory.epochs += 1
            for mapped in list(self.loader_maps):
                inner = mapped(inner, stage)
            loader = iteration.with_inner(loader, inner)
            self.advising.iterated(stage)
            stream = Stream(_numbered(iterate(loader)), _length(loader))
            for changed in list(self.stream_maps):
                stream = changed(stream, stage)
            return _Batches(self, stream, stage, counts)

        return iterating

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            losses = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            if self.stage == "train" and all(loss.numel() == 1 for loss in losses):
                self._trajectory.losses.append((self.step, sum(float(loss.detach()) for loss in losses)))
            return backward(tensors, *args, **kwargs)

        return backwards

    def _loss_computed(self, name: str, value: Any) -> Any:
        for mapped in list(self.loss_maps):
            value = mapped(name, value)
        return value

    def _notify_once(self, listeners: list[Callable[[], None]]) -> None:
        if self.module is not None:
            while listeners:
                listeners.pop(0)()


class _Batches:
    """The iterator of a loader, which notifies the loop when a step begins."""

    def __init__(self, loop: Loop, stream: Stream, stage: str, counts: bool) -> None:
        self._loop, self._stream, self._stage, self._counts = loop, stream, stage, counts
        self._taken = 0

    def __iter__(self) -> _Batches:
        return self

    def __len__(self) -> int:
        if self._stream.length is None:
            raise TypeError("the loader has no length")
        return self._stream.length

    def __next__(self) -> Any:
        loop = self._loop
        loop.stage = self._stage
        loop.advising.asked(self._stage)
        # Before the batch is fetched, where there is one to come: what acts on its samples acts in its step.
        early = self._counts and self._stream.length is not None and self._taken < self._stream.length
        if early:
            loop.begin_step()
        try:
            batch = next(self._stream.iterator)[0]
        except StopIteration:
            if early:
                loop.take_back()
            loop.stage = "train"
            loop.advising.exhausted(self._stage)
            raise
        self._taken += 1
        if self._counts and not early:
            loop.begin_step()
        for mapped in list(loop.batch_maps):
            batch = mapped(batch, self._stage)
        loop.delivered(self._stage)
        loop.advising.delivered(self._stage, batch)
        return batch


def _numbered(iterator: Iterator[Any]) -> Iterator[Any]:
    for number, batch in enumerate(iterator):
        yield batch, number, 0


def _length(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream, or a sampler without a length
        return None

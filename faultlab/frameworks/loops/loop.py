"""A training loop in progress: follows its module, optimizers, schedulers and loaders from before they are made.

What objects capture when they are constructed (a scheduler captures its optimizer's ``step``, a ``for`` statement its
iterator) can't be replaced later, so it is replaced from the beginning and asks the loop what to do. A fault that is
armed half-way only adds to the loop's lists.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import DataLoader

from faultlab.core.class_paths import path_of
from faultlab.core.patching import Make, Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops import criteria, iteration
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.ahead import Fetched, HandedOn, Queue
from faultlab.frameworks.loops.calls import Around, AroundCallback, plainly
from faultlab.frameworks.loops.checkpoints import Checkpoints
from faultlab.frameworks.loops.interruption import AnotherTraining, Interruption
from faultlab.frameworks.loops.layout import Layout, key_of
from faultlab.frameworks.loops.optimizing import Optimizing
from faultlab.frameworks.loops.own_step import wrap_function
from faultlab.frameworks.loops.reports import Reports
from faultlab.frameworks.loops.roots import Roots
from faultlab.frameworks.loops.streams import Batches, length, numbered
from faultlab.frameworks.torch.optimizers import groups_in
from faultlab.frameworks.torch.wrappers import unwrapped
from faultlab.injection.loader_workers import fork_workers
from faultlab.injection.values import Stream


class Loop(Optimizing):
    """A training loop as its run follows it.

    Args:
        layout: Recognizes the parts of the loop.
        trajectory: Receives steps, losses, learning rates and batches.
        begin: Called as a training step begins.
        take_back: Called if a training step has no batch after all.
        own_step: The owner and name of the user's training step, None if the scenario names none.
        evaluation: The user's function that evaluates, None if the scenario names none.
        declared: The scenario's ``metrics``.
        advising: Calls the ready-made guards, which watch the loop.
    """

    def __init__(
        self,
        layout: Layout,
        trajectory: Trajectory,
        begin: Callable[[], None],
        take_back: Callable[[], None],
        own_step: tuple[Any, str] | None = None,
        evaluation: Callable[..., Any] | None = None,
        declared: Mapping[str, Any] | None = None,
        advising: Advising | None = None,
    ) -> None:
        self.layout = layout
        self.own_step = own_step
        super().__init__()
        self.roots = Roots(layout.roots, layout.until)
        self.loaders: dict[str, DataLoader[Any]] = {}
        self.stage = self.latest = "train"
        self.clock: Any = None
        # Guards that the loop makes itself, and what observes them.
        self.guards: dict[str, Any] = {}
        # The user's callbacks by name, where a Trainer calls them.
        self.callbacks: dict[str, Any] = {}
        self.observe: Callable[[Any, str], Any] = lambda guard, name: guard
        # What faults and the probe add: see the hooks in `faultlab.frameworks.loops.seams`.
        self.when_constructed: list[Callable[[], None]] = []
        self.when_configured: list[Callable[[], None]] = []
        self.before_forward: list[Callable[[], None]] = []
        self.before_evaluation: list[Callable[[], None]] = []
        self.loader_maps: list[Callable[[DataLoader[Any], str], DataLoader[Any]]] = []
        self.stream_maps: list[Callable[[Stream, str], Stream]] = []
        self.batch_maps: list[Callable[[Any, str], Any]] = []
        self.loss_maps: list[Callable[[str, Any], Any]] = []
        self.around_validation: list[Around] = []
        self.around_resume: list[Around] = []
        self.around_callbacks: list[AroundCallback] = []
        self.checkpoints = Checkpoints(lambda: self.roots.found, lambda: self.updates)
        self.queue = Queue(self)
        self.interruption: tuple[int, Callable[[], None]] | None = None
        self.validated = False
        self.trajectory = trajectory
        self.reports = Reports(self, evaluation, declared or {})
        self.within_logger = self._evaluating = False
        self._begin, self._take_back = begin, take_back
        self.advising = advising or Advising({}, False)
        self._handed_on: weakref.WeakKeyDictionary[DataLoader[Any], str] = weakref.WeakKeyDictionary()
        self._epoch_begun = 0
        self._inside = self._in_backward = False
        self._forward_due = True
        self._evaluation_due = self._configured = False

    criterion = ""  # of the target profile, where it is known without a clean run
    packages: tuple[str, ...] = ()  # that run the loop, besides torch
    evaluates = False  # True if `evaluated` has metrics
    begins_steps = False  # True if the adapter itself begins a step, whose batch was fetched before

    @property
    def counts_forwards(self) -> bool:
        """True if a step begins with a call of the root module, since there is no batch, or one for all of them."""
        return not self.layout.training or self.layout.repeats

    @property
    def module(self) -> nn.Module | None:
        """The module that trains, or all of them as one; None before the loop has made them."""
        return self.roots.module

    @property
    def inside(self) -> bool:
        """True while a module that trains is being called."""
        return self._inside

    @property
    def in_backward(self) -> bool:
        """True while gradients are computed."""
        return self._in_backward

    @property
    def evaluating(self) -> bool:
        """True while the function runs that the scenario names for evaluation."""
        return self._evaluating

    @evaluating.setter
    def evaluating(self, begins: bool) -> None:
        self._evaluating = self._evaluation_due = begins

    @property
    def epochs(self) -> int:
        """How often the loader that counts the steps was iterated."""
        return self.trajectory.epochs

    @property
    def updates(self) -> int:
        """The number of optimizer steps."""
        return self.trajectory.global_step

    @property
    def steps_begun(self) -> bool:
        """True if a training step has begun."""
        return self.trajectory.steps > 0

    @property
    def step(self) -> int:
        """The number of the training step in progress."""
        return max(0, self.trajectory.steps - 1)

    def attach(self, patches: Patches) -> None:
        """Follow whatever the process trains from now on, until the patches are closed."""
        patches.wrap(nn.Module, "__init__", self._constructing)
        patches.wrap(nn.Module, "__call__", self._calling)
        self._follow_optimizers(patches)
        self.follow_loaders(patches)
        fork_workers(patches)
        criteria.replace(patches, self._loss_computed)
        self.checkpoints.attach(patches)
        self.reports.attach(patches)
        # Which `Tensor.backward` calls, too.
        patches.wrap(torch.autograd, "backward", self._backward)

    def follow_loaders(self, patches: Patches) -> None:
        """Follow every loader until the patches are closed."""
        iteration.replace(patches, self._iterating, self._handing_on)

    def key(self, loader: DataLoader[Any]) -> str:
        """Return the key of a loader, see `faultlab.frameworks.loops.layout.key_of`."""
        return key_of(loader)

    def stage_of(self, key: str) -> str:
        """Return the stage that the batches of a loader belong to."""
        return self.layout.stage(key)

    def counts(self, key: str) -> bool:
        """Return whether the batches of a loader count the steps."""
        return self.layout.counts(key)

    def wrap_own_step(self, patches: Patches, make: Make) -> None:
        """Replace the function of one training step, if there is one, until the patches are closed."""
        if self.own_step is not None:
            wrap_function(patches, *self.own_step, make)

    def wrap_loss(self, patches: Patches, make: Make) -> None:
        """Replace the method that returns the loss of a training step, where ``criterion`` names one."""
        raise NotImplementedError("no method is known to return the loss")

    def metrics(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return those numbers that are metrics, of all that the user's code has returned."""
        return dict(numbers)

    def evaluated(self, module: Any) -> dict[str, float]:
        """Return the metrics of the module that trained or of a copy; empty if only the user's code knows them."""
        return {}

    def restart(self) -> None:
        """Follow another call of the same function, which makes everything again and continues the training."""
        self.roots = Roots(self.layout.roots, self.layout.until)
        self.loaders, self.stage = {}, "train"
        self.interruption = None
        self._forget_optimizers()
        self._inside = self._evaluation_due = self._in_backward = self._configured = False
        self._forward_due = True

    def begin_step(self) -> None:
        """Note that a training step begins."""
        if not (self.trajectory.steps and self._configured):
            self._settle()
        self._forward_due = True
        self.trajectory.steps += 1
        self._begin()
        if self.module is not None:
            self.advising.begin(self.roots.found, self.optimizers, self.updates, max(0, self.epochs - 1))

    def _settle(self) -> None:
        groups = groups_in(self.optimizers)
        self.roots.confirm({id(parameter) for group in groups for parameter in group["params"]})
        self._notify_once(self.when_constructed)
        # A loop may evaluate its module before it makes an optimizer.
        if self.optimizers and self.module is not None:
            self._configured = True
            self._notify_once(self.when_configured)
        self.roots.settle()

    def end(self) -> None:
        """Note that the training is over: what it has called since its last update is no step."""
        if self.counts_forwards and self.steps_begun and not self._forward_due:
            self.take_back()

    def _leave(self) -> NoReturn:
        """End the run, since another training has begun, maybe with a batch that was taken for one of this."""
        if not self.counts_forwards and self._forward_due:
            self.take_back()
            self.trajectory.epochs -= self.step + 1 == self._epoch_begun
        raise AnotherTraining

    def take_back(self) -> None:
        """Note that the step that has just begun has no batch."""
        self.trajectory.steps -= 1
        self._take_back()

    def ended(self, stage: str) -> None:
        """Note that a loader has no more batches."""
        self.stage = "validate" if self.evaluating else "train"
        self.advising.exhausted(stage)

    @contextlib.contextmanager
    def staged(self, stage: str) -> Iterator[None]:
        """Let what happens inside the context belong to a stage."""
        before, self.stage = self.stage, stage
        try:
            yield
        finally:
            self.stage = before

    def delivered(self, stage: str) -> None:
        """Note that a batch was delivered."""
        self.latest = stage
        if stage == "validate":
            self.trajectory.validation_batches += 1
            self._evaluation_due = True

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            # A class with several bases may call this more than once for one module.
            known = "_parameters" in vars(module)
            construct(module, *args, **kwargs)
            if not known:
                self._constructed(module, path_of(type(module)))

        return constructing

    def _constructed(self, module: nn.Module, path: str) -> None:
        self.roots.constructed(module, path)

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not self._inside and self.roots.awaits:
                self._called(unwrapped(module))
            if self._inside or not self.roots.has(module):
                if self.roots.begins_next(module) and self.steps_begun and torch.is_grad_enabled():
                    self._leave()
                return call(module, *args, **kwargs)
            self._inside = True
            try:
                if self.stage == "train" and torch.is_grad_enabled():
                    self._root_called()
                    return call(module, *args, **kwargs)
                if self._evaluation_due:
                    self._evaluation_due = False
                    self._tell(self.before_evaluation)
                if self.stage != "validate":
                    return call(module, *args, **kwargs)
                self.validated = True
                around = self.around_validation[-1] if self.around_validation else plainly
                return around(lambda: call(module, *args, **kwargs))
            finally:
                self._inside = False

        return calling

    def _called(self, module: nn.Module) -> None:
        """Note a call from outside of the modules that train: it may be of one that existed before."""
        self.roots.called(module, path_of(type(module)))
        if not self.roots.awaits and self.steps_begun:
            # The step began as its batch was fetched.
            self._settle()

    def _root_called(self) -> None:
        if self.counts_forwards and self._forward_due:
            self.begin_step()
        elif self.layout.ahead:
            self.queue.called()
        if self._forward_due:
            self._forward_due = False
            self._tell(self.before_forward)

    def _tell(self, listeners: list[Callable[[], None]]) -> None:
        for listener in list(listeners):
            listener()

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: DataLoader[Any]) -> Iterator[Any]:
            key = self._handed_on.get(loader) or self.key(loader)
            if self.layout.only_looked_at(key):
                return iter(iterate(loader))
            self._taken_from(key)
            stage, counts = self.stage_of(key), self.counts(key)
            ahead = self.begins_steps or loader in self._handed_on or (counts and self.layout.ahead > 0)
            self.loaders.setdefault(key, loader)
            if counts:
                self._interrupt()
                self.queue.clear()
                self.trajectory.epochs += 1
                self._epoch_begun = self.trajectory.steps
            for mapped in list(self.loader_maps):
                loader = mapped(loader, stage)
            self.advising.iterated(stage)
            # Workers start here, and know for which stage they fetch from their copy of the loop.
            with self.staged(stage):
                stream = Stream(numbered(iterate(loader)), length(loader))
            for changed in list(self.stream_maps):
                stream = changed(stream, stage)
            return (Fetched if ahead else Batches)(self, stream, stage, counts)

        return iterating

    def _taken_from(self, key: str) -> None:
        """Note that a loader is about to be iterated."""

    def _handing_on(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def handing_on(wrapper: Any) -> Iterator[Any]:
            inner = iteration.inner(wrapper)
            key = self._handed_on[inner] = self.key(inner)
            if self.layout.only_looked_at(key):
                return iter(iterate(wrapper))
            self._taken_from(key)
            return HandedOn(self, iterate(wrapper), self.stage_of(key), self.counts(key))

        return handing_on

    def _interrupt(self) -> None:
        """Interrupt the training if its epochs are half done."""
        if self.interruption is not None and self.epochs and self.epochs == self.interruption[0] // 2:
            notify, self.interruption = self.interruption[1], None
            notify()
            raise Interruption

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            losses = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            # Checkpointed layers call it again.
            if self.stage == "train" and not self._in_backward and all(loss.numel() == 1 for loss in losses):
                self.trajectory.losses.append((self.step, sum(float(loss.detach()) for loss in losses)))
            before, self._in_backward = self._in_backward, True
            try:
                return backward(tensors if isinstance(tensors, torch.Tensor) else losses, *args, **kwargs)
            finally:
                self._in_backward = before

        return backwards

    def _loss_computed(self, name: str, value: Any) -> Any:
        for mapped in list(self.loss_maps):
            value = mapped(name, value)
        return value

    def _notify_once(self, listeners: list[Callable[[], None]]) -> None:
        if self.module is not None:
            while listeners:
                listeners.pop(0)()

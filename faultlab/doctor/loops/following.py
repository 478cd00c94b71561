"""In the victim: follows what a loop does to its modules, optimizers, schedules and loaders, and fills ``seen``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from faultlab.core.alert import safe_text
from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.doctor import loss_graph, planned, updates
from faultlab.doctor.loops import repeated
from faultlab.doctor.loops.batches_used import BatchesUsed
from faultlab.doctor.loops.calls import Calls
from faultlab.doctor.loops.frames import wrapper_not_used
from faultlab.doctor.loops.gradients import Gradients
from faultlab.doctor.loops.loaders import Loaders
from faultlab.doctor.loops.models import Models, described
from faultlab.doctor.loops.scores import Scores
from faultlab.doctor.whole.chronicle import Chronicle
from faultlab.frameworks.torch.optimizers import rate_in
from faultlab.frameworks.torch.seams.clipping import wrap_functions

_LOOKED_AT = 10
_GRAPHS = 3
_NODES = (0, 2, 4, 6)
_MOST_NODES = 100_000


class Enough(BaseException):
    """Ends a training that has shown enough; not an Exception, so that no loop handles it."""


class Following:
    """Follows the loop of this process.

    Args:
        code: The definition of the user's own code.
        until: The time at which the training has shown enough, by `time.perf_counter`.

    Attributes:
        seen: What was observed, see `faultlab.doctor.loops.observing`.
        step: The number of backward passes.
        between: Called before each batch with the step.
        beside: A context that marks inspections, and what they call, as not part of the training.
    """

    def __init__(self, code: UserCode, until: float) -> None:
        self.step = 0
        self.between: Callable[[int], None] = lambda step: None
        self.beside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self.models, self.gradients, self.calls = Models(self.place), Gradients(), Calls(code)
        self._used, self._scores = BatchesUsed(), Scores(code)
        self.chronicle = Chronicle(code, self.place)
        self.calls.history = self.chronicle.history
        self.loaders = Loaders(self.place, self._asked)
        self.seen: dict[str, Any] = {
            "losses": [], "rates": [], "graph": [], "nodes": [], "places": {}, "unread": [], "cut": False,
            "schedule_steps": 0, "batch_of_one": [], "input_scales": {}, "bypassed": "",
            "asked_rate": 0.0, "behind": {}, "carries_state": False, "mixes_samples": False, "sees_ahead": False,
            "uncalled_wrapper": "",
        }  # fmt: skip
        self.optimizers: list[Any] = []
        self._schedulers: list[Any] = []
        self._code, self._until = code, until
        self._depth = self._evaluations = self._learning = 0
        self._in_backward = False
        self._rate: float | None = None
        self._batches: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the loop inside the context."""
        with Patches() as patches, self.calls:
            self.chronicle.attach(patches)
            self._scores.attach(patches)
            patches.wrap(nn.Module, "__call__", self._calling)
            patches.wrap(nn.Module, "load_state_dict", self.models.loading)
            patches.wrap(nn.Module, "zero_grad", self.gradients.clearing)
            patches.wrap(torch.optim.Optimizer, "zero_grad", self.gradients.clearing)
            patches.wrap(torch.optim.Optimizer, "__init__", self._making)
            for scheduler in (LRScheduler, ReduceLROnPlateau):
                patches.wrap(scheduler, "__init__", self._scheduling)
            patches.wrap(torch, "compile", self.models.compiling)
            for parallel in (nn.DataParallel, nn.parallel.DistributedDataParallel):
                patches.wrap(parallel, "__init__", self.models.wrapping)
            patches.wrap(DataLoader, "__iter__", self.loaders.iterating)
            patches.wrap(DataLoader, "__iter__", self._beginning)
            # Which `Tensor.backward` calls, too.
            patches.wrap(torch.autograd, "backward", self._backward)
            wrap_functions(patches, self.gradients.clipping)
            patches.wrap(torch.amp.GradScaler, "scale", self.gradients.scaling)
            patches.wrap(torch.amp.GradScaler, "unscale_", self.gradients.unscaling)
            for handle in (
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ):
                patches.on_exit(handle.remove)
            yield

    @contextlib.contextmanager
    def looking(self, what: str) -> Iterator[None]:
        """Record an error of the doctor's own, so that it does not end the training."""
        try:
            with self.beside():
                yield
        except Exception as error:  # a user's objects may raise anything when they are inspected
            if len(self.seen["unread"]) < 3:
                told = f"{type(error).__name__}: {safe_text(error, 200)}"
                self.seen["unread"].append({"part": what, "error": told})

    def place(self) -> str:
        """Return the line of the user's code that is running."""
        return self._code.running()

    def finish(self) -> None:
        """Add what only the end shows."""
        seen, root = self.seen, self.models.root
        seen["gradients"] = self.gradients.seen
        seen["loaders"] = [one.facts() for one in self.loaders.known]
        seen["batch"] = self.loaders.training[0].batch if self.loaders.training else {}
        seen["validates_on_training"] = self.loaders.validates_on_training()
        seen["optimizers"] = [type(one).__name__ for one in self.optimizers]
        seen["evaluated"] = self.models.evaluated
        seen["made_again"] = self.models.made_again()
        seen["uncalled_wrapper"] = self.models.uncalled_wrapper()
        with self.looking("the evaluated weights"):
            seen["behind"] = self.models.behind()
        with self.looking("the state of the model"):
            seen["carries_state"] = repeated.carries_state(self.models.first, self._batches)
        with self.looking("the samples of a batch"):
            seen["mixes_samples"] = repeated.mixes_samples(self.models.first, self._batches)
        with self.looking("the tokens of a text"):
            seen["sees_ahead"] = repeated.sees_ahead(self.models.first, self._batches)
        with self.looking("the rounding of weights"):
            seen["rounded_away"] = updates.rounded_away(SimpleNamespace(optimizers=self.optimizers), None)
        seen.update(compared=self.calls.found, labels=self.calls.labels, over_batch=self.calls.over_batch)
        seen.update(summed=self.calls.summed, rectified=self.calls.rectified, ignored=self.calls.ignored)
        self.calls.learnt()
        seen["loads"] = bool(self.models.loaded)
        seen["reach"] = self.calls.reach.facts()
        seen["class_weights"] = (self.calls.weighted.weights, self.calls.weighted.counts)
        seen["thresholds"], seen["exchanged"] = self.calls.thresholds, self._scores.found
        seen["swapped_axes"] = self.calls.swapped
        seen["batches_used"] = self._used.found
        seen["trained_loss"] = {
            name: fmean(some[-max(1, len(some) // 10) :]) for name, some in self.calls.trained.items()
        }
        seen["evaluation_loss"] = self.calls.evaluation
        seen.update(averages=self.calls.averages.found, among_outputs=self.calls.among_outputs)
        seen.update(exclusive=self.calls.exclusive, loads_itself=self.models.loads_itself)
        seen.update(hidden=self.calls.ahead.hidden, relabeled=self.loaders.relabeled())
        seen.update(
            padded=self.calls.ahead.padded,
            copied=self.calls.ahead.copied,
            given=self.calls.ahead.given,
            terms=self.calls.terms.found,
        )
        seen.update(classes=[*self.calls.classes], classified=self.calls.classified, ahead=self.calls.ahead.found)
        with self.looking("the schedules"):
            seen["schedulers"] = [
                {**planned.schedule(one), "idle": self.gradients.idle(getattr(one, "optimizer", None))}
                for one in self._schedulers
            ]
        if root is not None:
            alive = {id(value) for one in self.models.trained for value in one.module.parameters()}
            seen["root"] = described(root.module)
            seen["modes"] = root.modes
            seen["weights"] = sum(value.numel() for value in root.module.parameters())
            seen["norms"] = root.norms
            seen["parameters"] = root.parameters(self.optimizers, alive, self.models.loaded, self.gradients.graded)

    # Modules.

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            outer, self._depth = self._depth == 0 and not self._in_backward, self._depth + 1
            try:
                if not outer:
                    return call(module, *args, **kwargs)
                self._called(module, args, kwargs)
                result = call(module, *args, **kwargs)
                if module is self.models.first and torch.is_grad_enabled():
                    self._used.called(result)
                with self.looking("the scores"):
                    self._scores.called(result, torch.is_grad_enabled())
                if isinstance(result, torch.Tensor) and self.calls.active:
                    self.calls.outputs.append(result)
                return result
            finally:
                self._depth -= 1

        return calling

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if next(module.parameters(), None) is None:
            return
        learning = torch.is_grad_enabled()
        with self.looking("the samples and weights"):
            self.chronicle.called(module, args, kwargs, learning)
        with self.looking("a module"):
            self.models.called(module, learning)
            first = next((one for one in args if isinstance(one, torch.Tensor)), None)
            self.calls.inputs, self.calls.learning = first, learning
            kind = "training" if learning else "evaluation"
            if module is self.models.first and kind not in self.seen["input_scales"] and _is_measurable(first):
                assert first is not None
                self.seen["input_scales"][kind] = {"mean": float(first.mean()), "spread": float(first.std())}
            rows = len(first) if first is not None and first.dim() else 0
            averages = self.calls.averages
            # Of several models in one step, the first one gets the samples.
            if learning:
                self._learning = id(module)
            if learning and module is self.models.first:
                averages.learnt(rows)
                self.calls.learnt()
                if len(self._batches) < 2 and args:
                    self._batches.append((args, kwargs))
            elif not learning and module is self.models.first:
                averages.evaluated(rows, self.loaders.whole)
            if learning:
                self._place("model")
                if self.step < _LOOKED_AT:
                    self.calls.ahead.called(args, kwargs)
                if first is not None and first.dim() and len(first) == 1 and len(self.seen["batch_of_one"]) < 8:
                    self.seen["batch_of_one"].append(self.step)
            else:
                self.loaders.evaluated(id(module))
                self._evaluations += 1
                self._place("evaluation")
            self.calls.active = self.step < _LOOKED_AT if learning else self._evaluations < _LOOKED_AT

    # Optimizers and schedules.

    def _making(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            if any(optimizer is known for known in self.optimizers):
                return
            self.optimizers.append(optimizer)
            self.chronicle.made(optimizer)
            self._place("optimizer")
            for group in optimizer.param_groups:
                if (rate := rate_in(group, "lr")) is not None:
                    self.seen["asked_rate"] = max(self.seen["asked_rate"], float(rate))

        return making

    def _scheduling(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def scheduling(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            if not any(scheduler is known for known in self._schedulers):
                self._schedulers.append(scheduler)
            construct(scheduler, *args, **kwargs)

        return scheduling

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        with self.looking("the gradients"):
            self._place("step")
            if not self.gradients.seen["steps"]:
                self.seen["bypassed"] = wrapper_not_used(self._code, optimizer)
            self.gradients.before_step(optimizer, bool(args[1:]) or kwargs.get("closure") is not None)
            rate = optimizer.param_groups[0].get("lr")
            if rate is not None and float(rate) != self._rate:
                self._rate = float(rate)
                self.seen["rates"].append((self.gradients.seen["steps"] - 1, self._rate))

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.gradients.after_step(optimizer)
        with self.looking("the samples and weights"):
            self.chronicle.stepped(optimizer)
        self._hurry()

    # Batches and backward passes.

    def _beginning(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def beginning(loader: Any) -> Any:
            with self.looking("the samples and weights"):
                self.chronicle.boundary()
            return iterate(loader)

        return beginning

    def _asked(self) -> None:
        self._used.delivered()
        self.between(self.step)
        self._hurry()

    def _hurry(self) -> None:
        if time.perf_counter() > self._until:
            raise Enough

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            with self.looking("the loss"):
                self._look_at(tensors)
            with self.looking("the samples and weights"):
                self.chronicle.learnt()
            self._in_backward = True
            try:
                result = backward(tensors, *args, **kwargs)
            finally:
                self._in_backward = False
            with self.looking("the gradients"):
                self.gradients.after_backward()
                self.step += 1
            return result

        return backwards

    def _look_at(self, tensors: Any) -> None:
        self._place("backward")
        self.gradients.before_backward()
        self.loaders.learnt(self._learning)
        loss = tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors))
        self._used.learnt(loss)
        if loss.numel() == 1:
            self.seen["losses"].append(float(loss.detach()) / self.gradients.scale)
        self.models.learnt(self.step, self.loaders.passes)
        if len(self.seen["graph"]) < _GRAPHS:
            modules = [one.module for one in self.models.trained]
            with self._unfollowed():
                whole = modules[0] if len(modules) == 1 else nn.ModuleList(modules)
                self.seen["graph"].append(loss_graph.facts(whole, loss))
        if self.step in _NODES:
            self.seen["nodes"].append((self.step, _nodes(loss.grad_fn)))

    @contextlib.contextmanager
    def _unfollowed(self) -> Iterator[None]:
        active, self.calls.active = self.calls.active, False
        try:
            yield
        finally:
            self.calls.active = active

    def _place(self, kind: str) -> None:
        if kind not in self.seen["places"]:
            self.seen["places"][kind] = self.place()


def _is_measurable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() >= 16


def _nodes(start: Any) -> int:
    """Return the number of nodes of a graph, up to a limit."""
    known: set[Any] = set()
    waiting = [start] if start is not None else []
    while waiting and len(known) < _MOST_NODES:
        node = waiting.pop()
        for following, _ in node.next_functions:
            if following is not None and following not in known:
                known.add(following)
                waiting.append(following)
    return len(known)

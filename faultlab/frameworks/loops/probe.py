"""Takes the target profile of a training loop during one clean run of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as modules
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DistributedSampler

from faultlab.core import predictions
from faultlab.core.class_paths import path_of
from faultlab.core.part_facts import Leaf, Part
from faultlab.core.patching import Patches
from faultlab.core.target_profile import IN_BACKWARD, TargetProfile
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.roots import Together
from faultlab.frameworks.loops.seams import reports, steps
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.loops.seams.steps import VALIDATION
from faultlab.frameworks.torch import batch_roles, facts, layers
from faultlab.frameworks.torch.callback_calls import CallbackCalls
from faultlab.frameworks.torch.facts import frozen, keeps_lists, kind, leaf, loading, rate, shared, tokens
from faultlab.frameworks.torch.layer_calls import LayerCalls
from faultlab.frameworks.torch.loaders import read
from faultlab.frameworks.torch.optimizers import groups_in
from faultlab.frameworks.torch.rates import WarmUp, configured
from faultlab.frameworks.torch.seams import averaging, clipping
from faultlab.frameworks.torch.seams.backward import DIRECT
from faultlab.injection import compilation, joined, loss_terms, samples, tree
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import offered
from faultlab.ranks import membership


class LoopProbe:
    """Watches a clean run. Structure and roles come from the first step with a backward, counts from the whole run."""

    def __init__(self, loop: Loop, clock: Clock, resumes: bool = False) -> None:
        self._loop, self._clock, self._resumes = loop, clock, resumes
        self._flow = _Followed()
        self._layer_calls = LayerCalls()
        self._callback_calls = CallbackCalls()
        self._parts: dict[str, Part] = {}
        self._hooks: set[str] = set()
        self._batch: Any = None
        self._first_batch: dict[str, torch.Tensor] = {}
        self._batches_differ = False
        self._validation_leaves: dict[str, Leaf] = {}
        self._following = self._followed = False
        self._followed_step = 0
        self._in_root = 0
        self._losses = 0
        self._criterion = ""
        self._output: Any = None
        self._in_step = 0
        self._in_tensors = False
        self._manual = False
        self._updated_at: list[int] = []
        self._scheduled: Counter[int] = Counter()
        self._first_validation: int | None = None
        self._validation_modes: set[bool] = set()
        self._of_groups: dict[str, Any] = {}
        self._warm_up = WarmUp()
        self._frozen = self._resting = self._terms = self._buffers = 0
        self._rate = 0.0
        self._settings: set[str] = set()
        self._thread = threading.get_ident()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Attach inside the context; nothing is left behind after it."""
        loop = self._loop
        with compilation.lifted(), Patches() as patches:
            loop.when_configured.append(self._configured)
            if not loop.layout.training:
                # No batch is delivered that could begin it.
                loop.before_forward.append(self._start_following)
            loop.batch_maps.append(self._deliver)
            patches.on_exit(lambda: loop.batch_maps.remove(self._deliver))
            patches.wrap(torch.Tensor, "backward", self._backward)
            patches.wrap(torch.autograd, "backward", self._direct_backward)
            patches.wrap(torch.optim.Optimizer, "zero_grad", self._calling("Optimizer.zero_grad"))
            patches.wrap(AveragedModel, "update_parameters", self._calling(averaging.UPDATE))
            for cls in steps.schedulers():
                patches.wrap(cls, "step", self._scheduling)
            patches.wrap(nn.Module, "zero_grad", self._calling("Module.zero_grad"))
            reports.wrap_resets(patches, self._calling(reports.RESET, "every"))
            clipping.wrap_functions(patches, self._calling(clipping.BY_HAND))
            loop.wrap_own_step(patches, self._stepping)
            listening(patches, loop.around_callbacks, self._around_callback)
            listening(patches, loop.before_evaluation, self._evaluating)
            loop.around_step.append(self._around_step)
            patches.on_exit(lambda: loop.around_step.remove(self._around_step))
            patches.on_exit(modules.register_module_forward_hook(self._after_forward, with_kwargs=True).remove)
            try:
                yield
            finally:
                self._stop_following()

    def given(self, batch: Any) -> None:
        """Take a batch that a step is called with by hand."""
        raise NotImplementedError("a training loop has no step that is called by hand")

    def _configured(self) -> None:
        module = self._loop.module
        assert module is not None
        self._frozen = sum(frozen(parameter) for parameter in module.parameters())
        self._buffers = len(list(layers.buffers(module)))
        groups = groups_in(self._loop.optimizers)
        self._of_groups = configured(self._loop.optimizers)
        self._rate = max((rate(group) for group in groups), default=0.0)
        self._settings = {str(key) for group in groups for key in group}

    def _deliver(self, batch: Any, stage: str) -> Any:
        if stage == "validate":
            if self._first_validation is None:
                self._first_validation = self._clock.step
                self._validation_leaves = {path: leaf(tensor) for path, tensor in tree.tensors(batch)}
        elif self._batch is None or self._followed_in_vain():
            # The batches before it were only evaluated: a loop may do so before it trains.
            self._stop_following()
            self._flow, self._layer_calls, self._followed = _Followed(), LayerCalls(), False
            self._followed_step = self._clock.step
            self._batch = batch
            self._flow.watch(batch)
            # A copy, since the step may change what it is given.
            self._first_batch = {path: tensor.clone() for path, tensor in tree.tensors(batch)}
            self._start_following()
        elif not self._batches_differ:
            self._batches_differ = not tree.identical(self._first_batch, dict(tree.tensors(batch)))
        return batch

    def _evaluating(self) -> None:
        self._validation_modes.update(part.training for root in self._loop.roots.found for part in root.modules())

    def _followed_in_vain(self) -> bool:
        """Return whether the step that is followed has ended without a backward."""
        return self._following and self._clock.step > self._followed_step and not self._clock.early

    def _start_following(self) -> None:
        if not self._followed:
            self._following = self._followed = True
            self._flow.__enter__()  # type: ignore[no-untyped-call]

    def _stop_following(self) -> None:
        if self._following:
            self._following = False
            self._flow.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._following:
                # The mode ends here, so that backward is called once and not from within it.
                self._stop_following()
                self._flow.reached_loss(tensor)
                self._criterion = self._flow.criterion(tensor)
            if self._clock.step == self._followed_step and self._loop.stage == "train":
                self._losses += 1
                self._terms = max(self._terms, len(loss_terms.terms(tensor)))
                if self._loop.module is not None:
                    self._resting = len(layers.resting(self._loop.module))
            self._manual |= self._in_step > 0
            before, self._in_tensors = self._in_tensors, True
            try:
                return backward(tensor, *args, **kwargs)
            finally:
                self._in_tensors = before

        return backwards

    def _direct_backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            # A tensor's method calls it, and so do checkpointed layers.
            if self._in_tensors or self._loop.in_backward:
                return backward(tensors, *args, **kwargs)
            self._hooks.add(DIRECT)
            losses = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            return self._backward(lambda loss: backward(losses, *args, **kwargs))(losses[0])

        return backwards

    def _calling(self, name: str, stage: str = "train") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(function: Callable[..., Any]) -> Callable[..., Any]:
            def calling(*args: Any, **kwargs: Any) -> Any:
                # A scheduler steps once while it is constructed.
                if self._loop.steps_begun and stage in ("every", self._loop.stage):
                    self._hooks.add(name)
                return function(*args, **kwargs)

            return calling

        return make

    def _scheduling(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def scheduling(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            # It steps once while it is constructed.
            if self._loop.steps_begun:
                self._hooks.add(steps.SCHEDULER)
                self._scheduled[id(scheduler)] += 1
            return step(scheduler, *args, **kwargs)

        return scheduling

    def _interval(self, scheduler: Any) -> str:
        """Return how often a scheduler is stepped: ``epoch``, ``step``, or empty if that is never."""
        count = self._scheduled[id(scheduler)]
        seldom = count <= self._loop.epochs < self._loop.trajectory.steps
        return ("epoch" if seldom else "step") if count else ""

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self._hooks.add(steps.STEP)
            self._in_step += 1
            try:
                output = step(*args, **kwargs)
            finally:
                self._in_step -= 1
            if self._output is None:
                self._output = (output,)
            return output

        return stepping

    def _around_step(self, optimizer: torch.optim.Optimizer, closure: Any, genuine: Callable[[Any], Any]) -> Any:
        self._hooks.add("Optimizer.step")
        if self._loop.in_backward:
            self._hooks.add(IN_BACKWARD)
        self._updated_at.append(self._clock.step)
        self._warm_up.updating(self._loop.optimizers, self._loop.schedulers)
        return genuine(closure)

    def _around_callback(self, name: str, hook: str, call: Callable[[], Any]) -> Any:
        self._callback_calls.note(name, hook, self._clock.step)
        return call()

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        first = self._clock.step == self._followed_step and self._loop.stage == "train" and self._following
        root = self._loop.module
        if not first or root is None or threading.get_ident() != self._thread:
            return
        if isinstance(output, torch.Tensor) and output.ndim == 0:
            self._flow.made(output, f"module {path_of(type(module))}")
        if module is root:
            self._flow.called("", root, (args, kwargs), output)
            return
        path = next((name for name, part in root.named_modules() if part is module), "")
        if path:
            part = layers.part(module, args, output)
            known = self._parts.setdefault(path, part)
            self._parts[path] = known if part.steady else part
            self._flow.called(path, module, args, output)
            self._layer_calls.called(path, module, args, output, self._loop.inside)

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        """Return the findings, once the run is over."""
        loop, module, batch = self._loop, self._loop.module, self._batch
        assert module is not None
        training = [one for key, one in loop.loaders.items() if loop.stage_of(key) == "train"]
        validation = [one for key, one in loop.loaders.items() if loop.stage_of(key) == "validate"]
        size = read(training[0]).batch_size if training else None
        joins = joined.joins(batch, size) if batch is not None else {}
        inputs, labels, own_labels = batch_roles.infer(batch, self._flow, joins) if batch is not None else ((), (), ())
        given = predictions.giver(self._flow.calls, self._flow.met_loss_from, (*labels, *own_labels))
        several = [name for name, _ in module.named_children()] if isinstance(module, Together) else [""]
        forward = given.path if given else several[0]
        along = {} if joins or batch is None else samples.axes(batch, inputs, labels, size)
        groups = groups_in(loop.optimizers)
        told = loop.reports
        held = {id(parameter) for group in groups for parameter in group["params"]}
        return TargetProfile(
            framework=NAME,
            seams=offered(NAME),
            module=path_of(type(module)),
            forward=forward,
            taught_head=self._layer_calls.taught_head(forward),
            hooks=tuple(sorted({*self._hooks, *([VALIDATION] if loop.validated else ())})),
            losses=self._losses,
            criterion=loop.criterion or self._criterion,
            automatic=not self._manual,
            output=kind(self._output[0]) if self._output else "none",
            batch=kind(batch),
            batch_size=joined.number(batch, joins) if joins else samples.count(batch, along) if along else None,
            sample_axes=along,
            joins=joins,
            keeps_lists=batch is None or keeps_lists(batch, inputs),
            batches_differ=self._batches_differ,
            leaves=facts.leaves(self._first_batch),
            inputs=inputs,
            labels=labels,
            own_labels=own_labels,
            names=tuple(path for path in labels if path in self._flow.names),
            tokens=tokens(batch, inputs, labels),
            first_step=facts.first_step(module, self._flow, self._resting, self._terms),
            steps=steps,
            epochs=loop.epochs,
            validation_batches=validation_batches,
            validates_in_training=self._validation_modes == {True},
            layers=tuple(sorted({type(part).__name__ for part in module.modules()})),
            parts=self._parts,
            trainable_layers=len(
                {name.rpartition(".")[0] for name, one in module.named_parameters() if one.requires_grad}
            ),
            frozen_tensors=self._frozen,
            floating_buffers=self._buffers,
            outputs_per_sample=given.width if given else self._layer_calls.width,
            optimizers=tuple(type(optimizer).__name__ for optimizer in loop.optimizers),
            optimized_tensors=sum(id(parameter) in held for parameter in module.parameters()),
            optimizer_settings=tuple(sorted(self._settings)),
            **self._of_groups,
            warm_up=self._warm_up.turns,
            keeps_average=loop.checkpoints.keeps_average,
            optimizer_state=any(any(optimizer.state.values()) for optimizer in loop.optimizers),
            first_update=next(iter(self._updated_at), None),
            updated_at=facts.uneven(self._updated_at, steps),
            first_validation=self._first_validation,
            schedulers=tuple(type(scheduler).__name__ for scheduler in loop.schedulers),
            scheduler_intervals=tuple(map(self._interval, loop.schedulers)),
            clips=clipping.BY_HAND in self._hooks,
            loading=loading(training, training, None if not training else read(training[0]).length),
            validation_loading=loading(validation, validation),
            validates_on_training_data=shared(training, validation),
            validation_leaves=self._validation_leaves,
            metrics=tuple(loop.trajectory.metrics),
            callbacks=tuple(loop.callbacks),
            callback_hooks=self._callback_calls.hooks(steps),
            logged_in_training=tuple(told.by_stage["train"]),
            logged_in_validation=tuple(told.by_stage["validate"]),
            logged_before_validation=told.before_validation,
            validation_reports=max(told.counts.values(), default=0),
            loggers=tuple(told.loggers),
            last_logged=told.last_logged,
            saved=tuple(sorted(loop.checkpoints.kinds)),
            resumes=self._resumes,
            updates=loop.updates,
            learning_rate=self._rate,
            ranks=member.size if (member := membership.present()) is not None else 1,
            shards=any(isinstance(getattr(one, "sampler", None), DistributedSampler) for one in training),
        )


class _Followed(batch_roles.DataFlow):
    """The data flow, with what made each single number."""

    def __init__(self) -> None:
        super().__init__()
        self._makers: dict[int, str] = {}
        self._numbers: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if isinstance(result, torch.Tensor) and result.ndim == 0:
            name = getattr(func, "__name__", "")
            if getattr(functional, name, None) is func:
                self.made(result, f"function {name}")
        return result

    def made(self, number: torch.Tensor, maker: str) -> None:
        """Note what made a single number; what is called last surrounds what was called before."""
        self._makers[id(number)] = maker
        # Ids are only unique among living objects.
        self._numbers.append(number)

    def criterion(self, loss: torch.Tensor) -> str:
        """Return what made the loss, empty where neither a module nor a function of torch's did."""
        return self._makers.get(id(loss), "")

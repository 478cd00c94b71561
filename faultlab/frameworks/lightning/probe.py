"""The probe of a clean run, which records the target profile."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils.data import DataLoader, DistributedSampler

from faultlab.core import directions, packages, predictions
from faultlab.core.class_paths import path_of
from faultlab.core.part_facts import Leaf, Part
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.lightning.callback_record import CallbackRecord
from faultlab.frameworks.lightning.log_record import LogRecord
from faultlab.frameworks.lightning.seams.backward import CLIPPING, wrap_held_optimizers
from faultlab.frameworks.lightning.seams.callbacks import named_callbacks
from faultlab.frameworks.lightning.seams.loading import training_loaders, validation_loaders
from faultlab.frameworks.torch import batch_roles, facts, layers
from faultlab.frameworks.torch.callbacks import ranks, stops_early
from faultlab.frameworks.torch.facts import (
    arguments,
    finite,
    frozen,
    keeps_lists,
    kind,
    leaf,
    loading,
    monitors,
    rate,
    shared,
    takes,
    tokens,
)
from faultlab.frameworks.torch.layer_calls import LayerCalls
from faultlab.frameworks.torch.loaders import read
from faultlab.frameworks.torch.optimizers import groups_in, held_optimizers, optimizers_in
from faultlab.frameworks.torch.rates import WarmUp, configured
from faultlab.frameworks.torch.seams import averaging, clipping
from faultlab.injection import compilation, joined, samples, tree
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site, offered
from faultlab.ranks import shards

_HOOKS = ("training_step", "validation_step", "test_step", "predict_step", "backward", "manual_backward", "forward",
          "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step", "configure_optimizers",
          "configure_gradient_clipping", "transfer_batch_to_device", "setup", "teardown")  # fmt: skip

_FLAGS = ("fast_dev_run", "overfit_batches", "num_sanity_val_steps", private_api.DETECTS_ANOMALIES)


class Probe:
    """Watches a clean run. Structure and roles come from the first training step, counts from the whole run."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._hooks: set[str] = set()
        self._flow = batch_roles.DataFlow()
        self._batch: Any = None
        self._first_batch: Any = None
        self._batches_differ = False
        self._validation_leaves: dict[str, Leaf] | None = None
        self._output: Any = None
        self._losses = 0
        self._configured, self._warm_up = dict[str, Any](), WarmUp()
        self._transfers = False
        self._updated_at: list[int] = []
        self._updated_bare_at: list[int] = []
        self._first_validation: int | None = None
        self._in_backward = False
        self._in_hook_of_clipping = False
        self._trains_through_forward = False
        self._layer_calls = LayerCalls()
        self._parts: dict[str, Part] = {}
        self._in_forward = 0
        self._lazy: set[int] = set()
        self._frozen = self._resting = 0
        self._buffers = 0
        self._logs = LogRecord(clock)
        self._callbacks = CallbackRecord(clock)
        self._fetched_by_torch: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Attach the probe inside the context, and remove it without trace afterwards."""
        if self._site.module is not None:
            self._frozen = sum(frozen(parameter) for parameter in self._site.module.parameters())
            self._buffers = len(list(layers.buffers(self._site.module)))
            self._lazy = {id(part) for part in self._site.module.modules() if isinstance(part, LazyModuleMixin)}
        with compilation.lifted(), Patches() as patches:
            for namespace in namespaces.loaded():
                for fetcher in private_api.FETCHERS:
                    patches.wrap(private_api.part(namespace, fetcher), "__next__", self._fetching)
                patches.wrap(private_api.part(namespace, private_api.OPTIMIZER), "step", self._updating)
                calls = private_api.part(namespace, private_api.CALLS)
                patches.wrap(calls, private_api.CALL_CALLBACKS, self._callbacks.calling_back)
                loggers = private_api.part(namespace, private_api.LOGGER_CONNECTOR)
                patches.wrap(loggers, "log_metrics", self._logs.writing_metrics)
            patches.wrap(DataLoader, "_get_iterator", self._iterating)
            patches.wrap(torch.optim.Optimizer, "zero_grad", self._calling("Optimizer.zero_grad"))
            patches.wrap(torch.optim.swa_utils.AveragedModel, "update_parameters", self._calling(averaging.UPDATE))
            base = namespaces.base_module(self._site.cls)
            names = [name for name in dir(base) if name.startswith("on_")] + list(_HOOKS)
            for name in names:
                if callable(getattr(self._site.cls, name, None)):
                    patches.wrap(self._site.owner(name), name, self._calling(name))
            patches.wrap(
                self._site.owner("configure_callbacks"), "configure_callbacks", self._callbacks.configuring_callbacks
            )
            patches.wrap(base, "log", self._logs.logging_value)
            patches.wrap(self._site.cls, private_api.TRANSFER, self._transferring)
            patches.wrap(torch.Tensor, "backward", self._backwards)
            clipping.wrap_functions(patches, self._clipping)
            if self._site.module is not None and not self._site.module.automatic_optimization:
                wrap_held_optimizers(patches, self._clock, self._site, self._updating_bare)
            patches.on_exit(hooks.register_module_forward_hook(self._after_forward).remove)
            yield

    def given(self, batch: Any) -> None:
        """Record the batch of a step that is called without a loader."""
        self._batch = batch
        self._flow.watch(batch)

    @property
    def _first_step(self) -> bool:
        return self._clock.step == 0 and self._clock.stage == "train" and self._output is None

    def _fetching(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        def fetching(fetcher: Any) -> Any:
            item = advance(fetcher)
            if self._validation_leaves is None and self._clock.stage == "validate" and isinstance(item, tuple):
                self._validation_leaves = {path: leaf(tensor) for path, tensor in tree.tensors(item[0])}
            if self._batch is None and self._clock.stage == "train" and isinstance(item, tuple) and len(item) == 3:
                self._batch = item[0]
                self._flow.watch(self._batch)
                # Copied, because the step may change its input.
                self._first_batch = {path: tensor.clone() for path, tensor in tree.tensors(self._batch)}
            elif self._clock.stage == "train" and isinstance(item, tuple) and not self._batches_differ:
                self._batches_differ = not tree.identical(self._first_batch, dict(tree.tensors(item[0])))
            return item

        return fetching

    @property
    def _batch_size(self) -> int | None:
        """The batch size according to the first training loader."""
        trainer = self._clock.trainer
        loaders = training_loaders(trainer) if trainer is not None else []
        return read(loaders[0]).batch_size if loaders else None

    def _iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        def iterating(loader: Any) -> Any:
            self._fetched_by_torch.add(loader)
            return iterate(loader)

        return iterating

    def _transferring(self, transfer: Callable[..., Any]) -> Callable[..., Any]:
        def transferring(*args: Any, **kwargs: Any) -> Any:
            # The step may receive another tensor: moved to a device, or augmented by a hook.
            with self._flow if self._first_step else contextlib.nullcontext():
                return transfer(*args, **kwargs)

        return transferring

    def _calling(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(method: Callable[..., Any]) -> Callable[..., Any]:
            def calling(*args: Any, **kwargs: Any) -> Any:
                self._hooks.add(name)
                self._trains_through_forward |= name == "forward" and self._clock.stage == "train"
                if name == "validation_step" and self._first_validation is None and not self._sanity_checking:
                    self._first_validation = self._clock.step
                self._transfers |= name == "transfer_batch_to_device" and self._clock.stage == "train"
                if name == CLIPPING:
                    self._in_hook_of_clipping = True
                    try:
                        return method(*args, **kwargs)
                    finally:
                        self._in_hook_of_clipping = False
                if name == "configure_optimizers":
                    result = method(*args, **kwargs)
                    self._configured = configured(result)
                    return result
                if name == "forward" and self._first_step:
                    return self._following_forward(method, args, kwargs)
                if name != "training_step" or not self._first_step:
                    return method(*args, **kwargs)
                self._resting = len(layers.resting(self._site.module))
                with self._flow:
                    output = method(*args, **kwargs)
                self._flow.reached_loss(output)
                self._output = (output,)
                return output

            return calling

        return make

    def _following_forward(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._in_forward += 1
        try:
            output = forward(*args, **kwargs)
        finally:
            self._in_forward -= 1
        if not self._in_forward and threading.get_ident() == self._thread:
            self._flow.called("", self._site.module, (args, kwargs), output)
        return output

    @property
    def _sanity_checking(self) -> bool:
        return bool(getattr(self._clock.trainer, "sanity_checking", False))

    def _updating(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def updating(*args: Any, **kwargs: Any) -> Any:
            self._note_update(packages.WRAPPED_STEP, self._updated_at)
            return step(*args, **kwargs)

        return updating

    def _updating_bare(self, optimizer: Any, step: Callable[..., Any]) -> Callable[..., Any]:
        def updating(*args: Any, **kwargs: Any) -> Any:
            self._note_update("Optimizer.step", self._updated_bare_at)
            return step(*args, **kwargs)

        return updating

    def _note_update(self, name: str, steps: list[int]) -> None:
        self._hooks.add(name)
        steps.append(self._clock.step)
        trainer = self._clock.trainer
        self._warm_up.updating(trainer.optimizers, (config.scheduler for config in trainer.lr_scheduler_configs))

    def _clipping(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        def clipped(*args: Any, **kwargs: Any) -> Any:
            if not self._in_hook_of_clipping and self._clock.stage == "train":
                self._hooks.add(clipping.BY_HAND)
            return clip(*args, **kwargs)

        return clipped

    def _backwards(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def backwards(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            # While data is being traced, torch calls the patched method once more from inside.
            self._losses += self._clock.step == 0 and not self._in_backward
            self._in_backward = True
            try:
                return backward(tensor, *args, **kwargs)
            finally:
                self._in_backward = False

        return backwards

    def _after_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._first_step or threading.get_ident() != self._thread or module is self._site.module:
            return
        path = next((name for name, part in self._site.module.named_modules() if part is module), "")
        if path:
            part = layers.part(module, args, output)
            if id(module) in self._lazy:  # before fit it has no tensors to change
                part = replace(part, biased=False, width=0)
            known = self._parts.setdefault(path, part)
            self._parts[path] = known if part.steady else part
            self._flow.called(path, module, args, output)
            self._layer_calls.called(path, module, args, output, bool(self._in_forward))

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        """Return the target profile after the run; ``trainer`` is None for a step that was called without one."""
        found = self._of_module(steps)
        return found if trainer is None else replace(found, **self._of_trainer(trainer, steps, validation_batches))

    def _of_module(self, steps: int) -> TargetProfile:
        module = self._site.module
        batch = self._batch
        joins = joined.joins(batch, self._batch_size) if batch is not None else {}
        inputs, labels, own_labels = batch_roles.infer(batch, self._flow, joins) if batch is not None else ((), (), ())
        leaves = facts.leaves(dict(tree.tensors(batch))) if batch is not None else {}
        given = predictions.giver(self._flow.calls, self._flow.met_loss_from, (*labels, *own_labels))
        forward = given.path if given else self._outermost()
        along = {} if joins else samples.axes(batch, inputs, labels, self._batch_size)
        return TargetProfile(
            framework=NAME,
            seams=offered(NAME),
            namespace=namespaces.namespace_of(self._site.cls),
            module=path_of(self._site.cls),
            automatic=bool(module.automatic_optimization),
            forward=forward,
            taught_head=self._layer_calls.taught_head(forward),
            hooks=tuple(sorted(self._hooks)),
            losses=self._losses,
            output=kind(self._output[0]) if self._output else "none",
            batch=kind(batch),
            batch_size=joined.number(batch, joins) if joins else samples.count(batch, along) if along else None,
            sample_axes=along,
            joins=joins,
            keeps_lists=keeps_lists(batch, inputs),
            batches_differ=self._batches_differ,
            leaves=leaves,
            inputs=inputs,
            labels=labels,
            own_labels=own_labels,
            names=tuple(path for path in labels if path in self._flow.names),
            tokens=tokens(batch, inputs, labels),
            first_step=facts.first_step(module, self._flow, self._resting),
            steps=steps,
            layers=tuple(sorted({type(part).__name__ for part in module.modules()})),
            parts=self._parts,
            trainable_layers=len(
                {name.rpartition(".")[0] for name, one in module.named_parameters() if one.requires_grad}
            ),
            frozen_tensors=self._frozen,
            floating_buffers=self._buffers,
            outputs_per_sample=given.width if given else self._layer_calls.width,
            **self._configured,
            warm_up=self._warm_up.turns,
            transfers=self._transfers,
            first_update=min([*self._updated_at[:1], *self._updated_bare_at[:1]], default=None),
            updated_at=facts.uneven(self._updated_at or self._updated_bare_at, steps),
            first_validation=self._first_validation,
            validation_leaves=self._validation_leaves or {},
            arguments=arguments(module),
            takes=takes(module),
            logged_in_training=tuple(self._logs.by_stage["train"]),
            logged_in_validation=tuple(self._logs.by_stage["validate"]),
            logged_before_validation=self._logs.before_validation,
            last_logged=self._logs.last_step,
            clips_itself=self._clips_itself,
            logged_objects=tuple(self._logs.objects),
            synced=self._logs.synced,
        )

    def _of_trainer(self, trainer: Any, steps: int, validation_batches: int) -> dict[str, Any]:
        shards.reshard(self._site.module)
        optimizers = optimizers_in(trainer.optimizers)
        groups = groups_in(optimizers)
        held = {id(parameter) for group in groups for parameter in group["params"]}
        given = self._callbacks.given(trainer)
        training, validation = training_loaders(trainer), validation_loaders(trainer)
        drawing = (getattr(one, "sampler", None) for one in training)
        samplers = [one for one in drawing if isinstance(one, DistributedSampler)]
        return {
            "epochs": int(trainer.current_epoch),
            "validation_batches": validation_batches,
            "clips": bool(trainer.gradient_clip_val) or self._clips_itself or clipping.BY_HAND in self._hooks,
            "optimizers": tuple(type(optimizer).__name__ for optimizer in trainer.optimizers),
            "optimized_tensors": sum(id(parameter) in held for parameter in self._site.module.parameters()),
            "optimizer_settings": tuple(sorted({str(key) for group in groups for key in group})),
            "optimizer_state": any(any(held.state.values()) for held in held_optimizers(self._site.module, trainer)),
            "scheduler_intervals": tuple(config.interval for config in trainer.lr_scheduler_configs),
            "keeps_average": any(map(namespaces.averages, trainer.callbacks)),
            "schedulers": tuple(type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs),
            "metrics": tuple(sorted(map(str, trainer.callback_metrics))),
            "loading": loading(training, self._fetched_by_torch, finite(trainer.num_training_batches)),
            "validation_loading": loading(validation, self._fetched_by_torch),
            "validates_on_training_data": shared(training, validation),
            "callbacks": tuple(name for name, _ in named_callbacks(trainer)),
            "monitors": monitors(given),
            "callback_hooks": self._callbacks.hooks(steps),
            "checkpoints": tuple(name for name, one in named_callbacks(trainer) if hasattr(one, "best_model_path")),
            "loggers": tuple(type(logger).__name__ for logger in trainer.loggers),
            "precision": str(trainer.precision),
            "updates": int(trainer.global_step),
            "learning_rate": max((rate(group) for group in groups), default=0.0),
            "accumulates": int(trainer.accumulate_grad_batches),
            "clip_value": trainer.gradient_clip_val,
            "flags": tuple(name.removeprefix("_") for name in _FLAGS if getattr(trainer, name, False)),
            "endless": trainer.max_epochs == -1,
            "patience": {name: callback.patience for name, callback in given if stops_early(callback)},
            "directions": directions.merged([*self._logs.directions, *directions.of_trainer(trainer)]),
            "ranks": int(trainer.world_size),
            "shards": bool(samplers),
            "replicas": max((one.num_replicas for one in samplers), default=1),
            "sharded": shards.kind(self._site.module),
            "ranking": tuple(name for name, callback in given if ranks(callback)),
        }

    @property
    def _clips_itself(self) -> bool:
        return namespaces.overrides(self._site.cls, "configure_gradient_clipping")

    def _outermost(self) -> str | None:
        """Return the part that gives the predictions if the data can't be traced."""
        # Some modules use forward only for validation and prediction, and train through their parts.
        if self._trains_through_forward and namespaces.overrides(self._site.cls, "forward"):
            return ""
        # Of the calls outside of all others, the last one gives what the loss is computed from.
        return self._layer_calls.outermost()

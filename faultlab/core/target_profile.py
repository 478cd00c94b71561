"""The target profile: plain data about the target that a clean run records once in a process of its own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from faultlab.core import framework_names, packages
from faultlab.core.first_step import FirstStep
from faultlab.core.leaf_names import SELECTORS, last_word
from faultlab.core.part_facts import Leaf, LoaderFacts, Part

DENSE = ("linear", "convolution", "transposed")
ACTIVATIONS = ("relu", "bounded", "activation")
NORMALISATIONS = ("batchnorm", "normalisation")

NO_BATCH = "none"
"""The type of the batch where no loader yields one."""

IN_BACKWARD = "Optimizer.step in backward"
"""Among the hooks, if optimizers are stepped while the gradients are computed."""

_NOT_HIDDEN = ("batch", "class", "classes", "epoch", "epochs", "heads", "in", "input", "labels", "layers", "num", "out",
               "output", "patience", "seed", "steps", "vocab", "warmup", "workers")  # fmt: skip

_AMID_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


@dataclass(frozen=True)
class TargetProfile:
    """The structure of a target.

    Attributes:
        framework: The framework that trains it.
        seams: The injection points that faultlab has a hook for there, by name; None if not determined.
        namespace: The Lightning package of the module.
        module: The module's class path.
        automatic: Automatic optimization is on.
        forward: The path of the part that gives the predictions; "" for the target's own forward, None without one.
        taught_head: The input of that part's last layer comes from trainable parameters; None without a layer.
        hooks: The LightningModule methods that were called. Also ``Optimizer.zero_grad`` and
            ``LightningOptimizer.step`` if they were called. With manual optimization also ``Optimizer.step`` if
            training_step steps one of torch's own optimizers that it or the Trainer holds, and ``clip_grad`` if the
            module clips gradients with torch's functions itself.
        losses: The number of losses that a training step sends backward.
        criterion: What computes the loss of a training loop: ``module CLASS_PATH`` or ``function NAME``; empty if none
            returns the very tensor that is propagated backward.
        output: The type that training_step returns: none, tensor, dict, tuple or object.
        batch: The type of the batch, of the same kinds.
        batch_size: The number of samples; None if the batch has no sample dimension. A graph's nodes are not samples.
        sample_axes: The sample dimension of each part of the batch.
        joins: The parts that define how samples are concatenated (see `faultlab.injection.joined`).
        keeps_lists: A list can take the place of each input tensor in the batch.
        batches_differ: Two steps receive different batches.
        leaves: The tensors of the batch, by path.
        inputs: The paths of the inputs in the batch.
        labels: The paths of the labels.
        own_labels: The inputs that are also the targets, if there are no separate labels.
        names: The labels that are only compared with each other, such as person ids.
        tokens: Of a batch of text: ``labels`` if they are its own tokens, ``prompt`` and ``padding`` if such labels are
            ignored, ``mask`` if an input hides tokens, ``packed`` if an input distinguishes samples of one row.
        first_step: What the first training step computes with.
        steps: The number of training steps.
        epochs: The number of epochs.
        validation_batches: The number of validation batches.
        validates_in_training: Every module is in training mode in all of a loop's validations.
        layers: The class names of all submodules.
        parts: The submodules that the first training step calls, by path, in call order.
        trainable_layers: The number of layers with trainable parameters.
        frozen_tensors: The number of frozen parameters.
        floating_buffers: The number of floating-point buffers.
        outputs_per_sample: The last dimension of the predictions.
        optimizers: The class names of the optimizers.
        optimized_tensors: The number of the module's parameters that an optimizer holds.
        optimizer_settings: The names of the settings in their parameter groups.
        decays: An optimizer starts with a weight decay other than 0.
        group_settings: The settings, of ``lr`` and ``weight_decay``, that differ between the groups of an optimizer.
        optimizer_state: An optimizer has state.
        transfers: The module itself moves training batches to the device.
        first_update: The step of the first update.
        first_validation: The step of the first validation after the sanity check.
        warm_up: The number of scheduler steps until the learning rate is first at its highest.
        keeps_average: Its checkpoints hold an average of the weights by torch's AveragedModel, beside the weights.
        schedulers: The class names of the schedulers.
        scheduler_intervals: Their intervals.
        clips: Gradients are clipped.
        metrics: The names of the logged metrics.
        loading: The first training DataLoader.
        validation_loading: The first validation DataLoader.
        validates_on_training_data: One dataset serves both.
        validation_leaves: The tensors of the first validation batch.
        arguments: The constructor's arguments that are numbers or strings.
        takes: The names of all its arguments; None if the class can't be found by its name.
        logged_in_training: The names that the module logs in training.
        logged_in_validation: The names that it logs in validation.
        logged_before_validation: A number of training is already logged when numbers of validation are.
        callbacks: The user's own callbacks.
        monitors: The metric that each callback of the Trainer's arguments monitors.
        callback_hooks: The number of calls of each callback's hooks, without hooks that are last called before midway.
        checkpoints: The callbacks that keep the best checkpoint.
        saves: The number of steps with a saved checkpoint in the clean run that continues from its checkpoints;
            None before that run.
        saved: What the checkpoints of a loop hold, ``weights`` or ``optimizer``; None if the framework writes them.
        resumes: The scenario names how the training continues from its checkpoints, or the framework does.
        validation_reports: How often a loop reports a number of validation; None if the framework averages batches.
        loggers: The class names of the Trainer's loggers.
        last_logged: The last step when a logger was passed anything.
        precision: The Trainer's precision.
        updates: The number of optimizer steps.
        updated_at: The training step of each of them; empty if there is one in each training step.
        learning_rate: The largest initial learning rate.
        accumulates: The Trainer's ``accumulate_grad_batches``.
        clip_value: The Trainer's ``gradient_clip_val``.
        clips_itself: The module overrides how gradients are clipped.
        flags: The switches of the Trainer that are on.
        endless: No number of epochs ends the training.
        patience: The patience of each early-stopping callback of the Trainer's arguments.
        ranking: The callbacks of the Trainer's arguments that compare values of a metric.
        logged_objects: The names that are logged as a torchmetrics Metric.
        directions: The objects that declare a direction for a number, by its name (see `faultlab.core.directions`).
        monitor: The metric that the campaign judges by.
        monitor_mode: min or max.
        unreloadable: Why the clean run can't continue from its own checkpoints; else empty.
        unevaluated: Why its best checkpoint can't be evaluated afterwards; else empty.
        ranks: The number of processes that train together.
        synced: True if the module logs a value with ``sync_dist=True``.
        shards: True if the training loader's sampler is a DistributedSampler.
        replicas: The number of ranks that train on different samples, according to that sampler.
        sharded: How the ranks share the parameters: ``fully`` (FSDP2), ``tensors`` (tensor parallelism), or empty.
    """

    framework: str = framework_names.DEFAULT
    seams: tuple[str, ...] | None = None
    namespace: str = ""
    module: str = ""
    automatic: bool = True
    forward: str | None = None
    taught_head: bool | None = None
    hooks: tuple[str, ...] = ()
    losses: int = 0
    criterion: str = ""
    output: str = "none"
    batch: str = ""
    batch_size: int | None = None
    sample_axes: Mapping[str, int] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)
    keeps_lists: bool = True
    batches_differ: bool = False
    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    first_step: FirstStep = field(default_factory=FirstStep)
    steps: int = 0
    epochs: int = 0
    validation_batches: int = 0
    validates_in_training: bool = False
    layers: tuple[str, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    trainable_layers: int = 0
    frozen_tensors: int = 0
    floating_buffers: int = 0
    outputs_per_sample: int | None = None
    optimizers: tuple[str, ...] = ()
    optimized_tensors: int = 0
    optimizer_settings: tuple[str, ...] = ()
    decays: bool = False
    group_settings: tuple[str, ...] = ()
    optimizer_state: bool = False
    transfers: bool = False
    first_update: int | None = None
    first_validation: int | None = None
    warm_up: int = 0
    keeps_average: bool = False
    schedulers: tuple[str, ...] = ()
    scheduler_intervals: tuple[str, ...] = ()
    clips: bool = False
    metrics: tuple[str, ...] = ()
    loading: LoaderFacts | None = None
    validation_loading: LoaderFacts | None = None
    validates_on_training_data: bool = False
    validation_leaves: Mapping[str, Leaf] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] | None = None
    logged_in_training: tuple[str, ...] = ()
    logged_in_validation: tuple[str, ...] = ()
    logged_before_validation: bool = False
    callbacks: tuple[str, ...] = ()
    monitors: Mapping[str, str] = field(default_factory=dict)
    callback_hooks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    saves: int | None = None
    saved: tuple[str, ...] | None = None
    resumes: bool = True
    validation_reports: int | None = None
    loggers: tuple[str, ...] = ()
    last_logged: int | None = None
    precision: str = "32-true"
    updates: int = 0
    updated_at: tuple[int, ...] = ()
    learning_rate: float = 0.0
    accumulates: int = 1
    clip_value: float | None = None
    clips_itself: bool = False
    flags: tuple[str, ...] = ()
    endless: bool = False
    patience: Mapping[str, int] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    logged_objects: tuple[str, ...] = ()
    directions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    monitor: str = ""
    monitor_mode: str = "min"
    unreloadable: str = ""
    unevaluated: str = ""
    ranks: int = 1
    synced: bool = False
    shards: bool = False
    replicas: int = 1
    sharded: str = ""

    @property
    def workers(self) -> int:
        """The number of workers of the training loader."""
        return self.loading.workers if self.loading else 0

    @property
    def by_hand(self) -> bool:
        """True for a loop that writes its own checkpoints and reports."""
        return self.saved is not None

    @property
    def logged(self) -> tuple[str, ...]:
        """The names of all numbers that the module logs."""
        return self.logged_in_training + self.logged_in_validation

    @property
    def unlabelled(self) -> str:
        """The reason why there are no labels to break; else empty."""
        if self.own_labels:
            return "the labels are the inputs themselves, and can't be broken apart from them"
        return "" if self.labels else "no part of the batch is used as labels"

    @property
    def past_trainer(self) -> bool:
        """True if the module steps torch's own optimizers and never the Trainer's wrapper of one."""
        return "Optimizer.step" in self.hooks and packages.WRAPPED_STEP not in self.hooks

    def busiest_hook(self, callback: str, between_steps: bool = False) -> str:
        """Return the hook of a callback that is called most often, or an empty string.

        With ``between_steps``, only hooks that Lightning does not call between loss and update.
        """
        calls = self.callback_hooks.get(callback, {})
        if between_steps:
            calls = {hook: count for hook, count in calls.items() if hook not in _AMID_STEP}
        return max(calls, key=lambda hook: calls[hook], default="")

    @property
    def hidden_sizes(self) -> list[str]:
        """The module's arguments that are the width of a hidden layer, without those named after something else."""
        widths = {self.parts[path].width for path in self.weighted[:-1]} - {0, 1}
        sizes = [name for name, value in self.arguments.items() if type(value) is int and value in widths]
        return [name for name in sizes if not set(name.lower().split("_")) & set(_NOT_HIDDEN)]

    @property
    def contents(self) -> tuple[str, ...]:
        """The inputs without masks, lengths and indices, which select or join the others; all inputs if none are left.

        A mask or length of zero is another failure than inputs of zero.
        """
        return tuple(path for path in self.inputs if not self._selects(path)) or self.inputs

    @property
    def movable(self) -> tuple[str, ...]:
        """The inputs and then the labels for which torch detects a wrong device.

        It accepts a single number from any device, and if indices have no values it reads arbitrary memory.
        """
        leaves = {path: self.leaves[path] for path in (*self.contents, *self.labels) if path in self.leaves}
        return tuple(path for path, leaf in leaves.items() if leaf.kind == "floating" and leaf.shape)

    def _selects(self, path: str) -> bool:
        leaf = self.leaves.get(path)
        return last_word(path) in SELECTORS or path in self.joins or (leaf is not None and leaf.dtype == "bool")

    @property
    def weighted(self) -> list[str]:
        """The layers with weights of their own, in call order."""
        return [path for path, part in self.parts.items() if part.width and part.kind != "container"]

    @property
    def steady(self) -> list[str]:
        """The layers with weights whose output has the shape of their input, normalizations last."""
        found = [path for path in self.weighted if self.parts[path].steady]
        return sorted(found, key=lambda path: self.parts[path].kind in NORMALISATIONS)

    def fed(self, kind: str) -> list[str]:
        """Return, for each activation of a kind, the last layer with weights called before it, which feeds it."""
        calls = list(self.parts)
        earlier = [calls[: calls.index(path)] for path, part in self.parts.items() if part.kind == kind]
        return [found[-1] for before in earlier if (found := [path for path in self.weighted if path in before])]

    def updates_in(self, step: int) -> range:
        """Return the optimizer steps that a training step is part of: those in it, else the one that comes next."""
        if not self.updated_at:
            return range(step, step + 1)
        first, end = bisect_left(self.updated_at, step), bisect_right(self.updated_at, step)
        return range(first, max(end, first + 1))

    def first_step_of(self, update: int) -> int | None:
        """Return the first training step that is part of an optimizer step; None if the clean run has no such step."""
        if not self.updated_at:
            return update if update < self.steps else None
        if update >= len(self.updated_at):
            return None
        last = self.updated_at[update]
        before = self.updated_at[update - 1] if update else -1
        return min(before + 1, last)

    @property
    def steps_per_epoch(self) -> int:
        """The steps of a whole epoch: with a limit on steps, the training may end within its last epoch."""
        batches = (self.loading.batches if self.loading else None) or 0
        if (self.epochs - 1) * batches < self.steps <= self.epochs * batches:
            return batches
        return max(1, self.steps // max(1, self.epochs))

    def to_json(self) -> dict[str, Any]:
        """Return the data, the same object each time; don't change it. Every order of a campaign carries it."""
        return self._plain

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetProfile:
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        leaves, validation = (
            {path: Leaf(**{**leaf, "shape": tuple(leaf["shape"])}) for path, leaf in data.get(name, {}).items()}
            for name in ("leaves", "validation_leaves")
        )
        parts = {path: Part(**part) for path, part in data.get("parts", {}).items()}
        facts = {
            name: LoaderFacts(**data[name]) for name in ("loading", "validation_loading") if data.get(name) is not None
        }
        first = FirstStep.from_json(data.get("first_step", {}))
        return cls(**{**data, **lists, **facts, "leaves": leaves, "validation_leaves": validation, "parts": parts,
                      "first_step": first})  # fmt: skip

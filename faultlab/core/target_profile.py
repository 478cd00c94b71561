"""The target profile: plain data about the target that a clean run records once in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from faultlab.core import framework_names

DENSE = ("linear", "convolution", "transposed")
ACTIVATIONS = ("relu", "bounded", "activation")
NORMALISATIONS = ("batchnorm", "normalisation")

SELECTORS = ("mask", "length", "lengths", "len", "lens", "index", "ptr", "batch")
_NOT_HIDDEN = ("batch", "class", "classes", "epoch", "epochs", "heads", "in", "input", "labels", "layers", "num", "out",
               "output", "patience", "seed", "steps", "vocab", "warmup", "workers")  # fmt: skip

_AMID_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def words(path: str) -> list[str]:
    """Return the words of a leaf's name: ``attention`` and ``mask`` of ``text.attention_mask``."""
    return path.rpartition(".")[2].lower().split("_")


def last_word(path: str) -> str:
    """Return the last word of a leaf's name: ``mask`` of ``text.attention_mask``."""
    return words(path)[-1]


@dataclass(frozen=True)
class Leaf:
    """One tensor of the batch as the loader yields it.

    ``kind`` is floating or integer; ``low`` and ``high`` are its smallest and largest value.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Part:
    """One submodule that the first training step calls.

    ``kind`` is one of ``faultlab.frameworks.torch.layers``; ``steady`` means that its output has the shape of its
    input, ``biased`` that it has a bias of its own; ``width`` is the first dimension of its own weight (0 without one).
    """

    kind: str
    steady: bool = False
    biased: bool = False
    width: int = 0


@dataclass(frozen=True)
class LoaderFacts:
    """A DataLoader.

    ``samples`` is None if its dataset has no length, ``batch_size`` if it does not batch. ``batches`` is the number in
    a training epoch, None if unknown; ``length`` is the loader's own ``len``. ``own_sampling`` means that its samples
    are not drawn by one of torch's plain samplers, ``arrays`` that its items hold an array with at least one dimension.
    """

    samples: int | None = None
    batches: int | None = None
    length: int | None = None
    batch_size: int | None = None
    shuffled: bool = False
    drop_last: bool = False
    workers: int = 0
    own_sampling: bool = False
    arrays: bool = False
    whole_batches: bool = False

    @property
    def uneven(self) -> bool:
        """True if its last batch is smaller than the others."""
        sized = self.samples is not None and self.batch_size is not None and not self.drop_last
        return sized and (self.samples or 0) % (self.batch_size or 1) > 0


@dataclass(frozen=True)
class TargetProfile:
    """The structure of a target.

    ``framework`` is what trains it, ``seams`` names the injection points that faultlab has a hook for there (None where
    nobody asked).
    ``forward`` is the path of the part that gives the predictions ("" for the target's own forward, None for none),
    ``taught_head`` says whether what enters its last layer comes from parameters that learn (None without a layer);
    ``hooks`` the LightningModule methods that were called; ``losses`` the number of losses a training step sends
    backward; ``inputs`` and ``labels`` paths into the batch, ``own_labels`` those inputs that are the targets too,
    where there are no labels beside them, ``names`` those labels that are only compared with each other, as the numbers
    of persons are; ``batch`` the batch's outermost type (tuple, dict, tensor or object);
    ``output`` what training_step returns (tensor, dict, none or other); ``clips`` whether gradients are clipped.
    ``batch_size`` is None where the batch has no dimension of samples: a graph's nodes are none; ``joins`` has the
    parts that say how samples are joined that lie one behind another (see `faultlab.injection.joined`).
    ``batches_differ`` says whether two steps are given batches that are not the same. ``hooks`` also holds
    ``Optimizer.zero_grad`` and ``LightningOptimizer.step`` where they were called, and under manual optimisation
    ``Optimizer.step`` where training_step steps torch's own, which it or the Trainer holds, and ``clip_grad`` where the
    module clips gradients by torch's functions itself. ``optimized_tensors`` counts the module's parameters that an
    optimizer holds, ``optimizer_settings`` names what its groups set, ``decays`` says whether any sets out with a
    weight decay other than 0, ``optimizer_state`` whether it remembers anything; ``transfers`` says whether the module
    moves the training's batches to the device; ``first_update`` and ``first_validation`` are the steps of the first
    update and of the first validation after the sanity check. ``loading`` and ``validation_loading`` describe the first
    DataLoader of each kind, ``validates_on_training_data`` says that one dataset serves both, ``validation_leaves`` are
    those of the first validation batch; ``arguments`` are those of the module's constructor that are numbers or words,
    ``takes`` the names of all (None where the class can't be found by its name); ``logged_in_training`` and
    ``logged_in_validation`` what the module logs where, ``logged_before_validation`` whether any number of training is
    logged when numbers of validation are; ``callbacks`` the user's own, ``monitors`` what each of those that the
    Trainer was built with monitors, ``loggers`` the Trainer's, ``last_logged`` the last step in which one was handed
    anything. ``updates`` counts the optimizer steps, ``learning_rate`` is the largest that an optimizer set out with;
    ``accumulates`` and ``clip_value`` are the Trainer's settings, ``clips_itself`` says that the module overrides how
    gradients are clipped, ``flags`` names the switches of the Trainer that are on, ``endless`` says that no number of
    epochs ends the training; ``patience`` is that of each callback that stops early, ``ranking`` names those that tell
    better from worse, both of those that the Trainer was built with; ``logged_objects`` what is logged as a
    torchmetrics Metric. ``callback_hooks`` counts the calls of each callback's hooks, of those that are called half-way
    or later; ``checkpoints`` names those that keep the best checkpoint, ``saves`` counts the steps at which any was
    saved in the clean run that goes on from its checkpoints (None before that). ``directions`` has by a number's name
    who declares which way it gets better (see `faultlab.core.directions`). ``monitor`` is the metric that the campaign
    judges by, ``monitor_mode`` min or max; ``unreloadable`` says why the clean run can't go on from its own
    checkpoints, ``unevaluated`` why its best one can't be evaluated afterwards.
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
    steps: int = 0
    epochs: int = 0
    validation_batches: int = 0
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
    optimizer_state: bool = False
    transfers: bool = False
    first_update: int | None = None
    first_validation: int | None = None
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
    loggers: tuple[str, ...] = ()
    last_logged: int | None = None
    precision: str = "32-true"
    updates: int = 0
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

    @property
    def workers(self) -> int:
        """The number of workers of the training loader."""
        return self.loading.workers if self.loading else 0

    @property
    def logged(self) -> tuple[str, ...]:
        """The names of all numbers that the module logs."""
        return self.logged_in_training + self.logged_in_validation

    @property
    def unlabelled(self) -> str:
        """Why there are no labels to break, in words; else empty."""
        if self.own_labels:
            return "the labels are the inputs themselves, and can't be broken apart from them"
        return "" if self.labels else "no part of the batch is used as labels"

    @property
    def past_lightning(self) -> bool:
        """True if the module steps torch's own optimizers and never Lightning's wrapper of one."""
        return "Optimizer.step" in self.hooks and "LightningOptimizer.step" not in self.hooks

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
        return cls(**{**data, **lists, **facts, "leaves": leaves, "validation_leaves": validation, "parts": parts})

"""The `TrainingView` of a Lightning Trainer, and what else guards read from Lightning's private interface."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from faultlab.guards.support.training_view import TrainingView

_SETTINGS = (
    "fast_dev_run",
    "max_epochs",
    "max_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "overfit_batches",
    "limit_train_batches",
    "limit_val_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "world_size",
)
_FLATTENING = ("FSDP", "DeepSpeed", "XLA")


def view_of(training: Any) -> TrainingView:
    """Return the view of a Trainer, the same one as long as the Trainer lives. Any other object is a view already."""
    if not package(type(training)):  # type: ignore[arg-type]
        view: TrainingView = training
        return view
    found = _VIEWS.get(training)
    if found is None:
        found = _VIEWS[training] = LightningView(training)
    return found


@lru_cache(maxsize=256)
def package(kind: type) -> str:
    """Return the Lightning package that a Trainer class belongs to, empty if it belongs to none."""
    modules = [cls.__module__ for cls in kind.__mro__]
    return next((m.partition(".trainer")[0] for m in modules if "lightning" in m.partition(".")[0]), "")


def _read(path: str, default: Any = None) -> Any:
    """Return a property that reads an attribute path of the Trainer, with a default for a Trainer without it.

    It has no setter, since guards change nothing.
    """
    get = attrgetter(path)

    def read(view: LightningView) -> Any:
        return get(view.trainer())

    def read_if_there(view: LightningView) -> Any:
        try:
            return get(view.trainer())
        except AttributeError:
            return default

    return property(read if default is None else read_if_there)


def _found(look: Callable[[Any], Any]) -> Any:
    """Return a property that is computed from the Trainer."""
    return property(lambda view: look(view.trainer()))


class LightningView(TrainingView):
    """A Trainer as guards see it.

    It does not keep the Trainer alive and caches nothing: each access reads the Trainer as it is.

    Args:
        trainer: A Trainer of either Lightning package.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer: Callable[[], Any] = weakref.ref(trainer)

    global_step: int = _read("global_step")
    current_epoch: int = _read("current_epoch")
    batch_idx: int | None = _read("fit_loop.batch_idx")
    total_batch_idx: int | None = _read("fit_loop.epoch_loop.total_batch_idx")
    logged_step: int = _found(lambda trainer: _logged_step(trainer))
    sanity_checking: bool = _read("sanity_checking")
    should_stop: bool = _read("should_stop")
    is_interrupted: bool = _found(lambda trainer: trainer.interrupted or getattr(trainer, "received_sigterm", False))
    is_fitting: bool = _found(lambda trainer: trainer.state.fn is None or trainer.state.fn.value == "fit")
    skips_backward: bool = _read("fit_loop.epoch_loop.automatic_optimization._skip_backward", False)

    max_epochs: int | None = _read("max_epochs")
    max_steps: int | None = _read("max_steps")
    num_training_batches: float = _read("num_training_batches")
    num_val_batches: Sequence[float] | None = _read("num_val_batches")
    num_sanity_val_batches: Sequence[float] | None = _read("num_sanity_val_batches")
    validation_mode: str = _read("fit_loop.epoch_loop.val_loop._combined_loader._mode", "")
    accumulate_grad_batches: int = _read("accumulate_grad_batches")
    fast_dev_run: bool | int = _read("fast_dev_run")
    overfit_batches: float = _read("overfit_batches")
    limit_train_batches: float | None = _read("limit_train_batches")
    limit_val_batches: float | None = _read("limit_val_batches")
    check_val_every_n_epoch: int | None = _read("check_val_every_n_epoch")
    val_check_interval: int | float | None = _found(lambda trainer: getattr(trainer, "val_check_interval", None))
    plans_validation = True
    validates_by_clock: bool = _found(lambda trainer: getattr(trainer, "_val_check_time_interval", None) is not None)
    enable_validation: bool | None = _read("enable_validation")
    has_validation_data: bool = _found(lambda trainer: _has_validation_data(trainer))
    log_every_n_steps: int = _read("log_every_n_steps")

    optimizers: Sequence[Any] | None = _read("optimizers")
    lr_scheduler_configs: Sequence[Any] | None = _read("lr_scheduler_configs")
    callbacks: Sequence[Any] = _read("callbacks")
    checkpoint_callbacks: Sequence[Any] | None = _read("checkpoint_callbacks")
    callback_metrics: Mapping[str, Any] | None = _read("callback_metrics")
    loggers: Sequence[Any] = _read("loggers")
    log_name: str = _found(lambda trainer: f"{package(type(trainer))}.faultlab")  # type: ignore[arg-type]
    train_dataloader: Any = _read("train_dataloader")
    val_dataloaders: Any = _read("val_dataloaders")
    datamodule: Any = _read("datamodule")
    ckpt_path: str | None = _read("ckpt_path")
    default_root_dir: str = _read("default_root_dir")
    is_scaled: bool = _found(lambda trainer: getattr(trainer.precision_plugin, "scaler", None) is not None)
    is_flattened: bool = _found(lambda trainer: any(part in type(trainer.strategy).__name__ for part in _FLATTENING))
    is_sharded: bool = _found(lambda trainer: "ModelParallel" in type(trainer.strategy).__name__)
    world_size: int = _read("world_size")
    shares_buffers: bool = _found(lambda trainer: bool(getattr(trainer.strategy.model, "broadcast_buffers", False)))
    is_global_zero: bool = _read("is_global_zero")

    def settings(self) -> Mapping[str, Any]:
        trainer = self.trainer()
        return {name: getattr(trainer, name) for name in _SETTINGS if hasattr(trainer, name)}

    def epoch_metrics(self) -> tuple[set[int], set[int]]:
        loop = self.trainer().fit_loop.epoch_loop
        return _epoch_metrics(loop), _epoch_metrics(loop.val_loop)

    def epoch_names(self) -> tuple[Sequence[str], Sequence[str]]:
        loop = self.trainer().fit_loop.epoch_loop
        return list(_logged_for_epochs(loop)), list(_logged_for_epochs(loop.val_loop))

    def validation_sums(self) -> Mapping[str, tuple[Any, Any]]:
        entries = _logged_for_epochs(self.trainer().fit_loop.epoch_loop.val_loop)
        return {
            name: (entry.value, entry.cumulated_batch_size.clone())
            for name, entry in entries.items()
            if entry.is_tensor and entry.meta.is_mean_reduction and entry._computed is None
        }

    def validation_totals(self) -> Sequence[str]:
        entries = _logged_for_epochs(self.trainer().fit_loop.epoch_loop.val_loop)
        return [name for name, entry in entries.items() if entry.is_tensor and entry.meta.is_sum_reduction]

    def forward_context(self) -> contextlib.AbstractContextManager[Any]:
        plugin = self.trainer().precision_plugin
        context: contextlib.AbstractContextManager[Any] = getattr(plugin, "forward_context", contextlib.nullcontext)()
        return context

    def call_after_guards(self, callback: Any) -> Callable[[], None] | None:
        # Before callbacks that save: they come last.
        called = self.trainer().callbacks
        places = [place for place, one in enumerate(called) if hasattr(one, "leave_out") or hasattr(one, "guards")]
        if not places:
            return None
        # In place, since the Trainer is going through the list.
        called.insert(places[-1] + 1, callback)

        def leave() -> None:
            # Another list, since the Trainer is going through this one.
            if (trainer := self.trainer()) is not None:
                trainer.callbacks = [one for one in trainer.callbacks if one is not callback]

        return leave

    def refuses_checkpoint(self) -> str:
        # An alarm in one process can't make the others take part in saving.
        trainer = self.trainer()
        if trainer.world_size == 1 or "DDP" in type(trainer.strategy).__name__:
            return "" if trainer.is_global_zero else "the alarm was not raised in the process that saves"
        return "the weights are sharded over several processes"

    def checkpoint(self) -> dict[str, Any]:
        # Of the values that are trained, not of the copies that averaging callbacks would save in their place.
        state: dict[str, Any] = self.trainer()._checkpoint_connector.dump_checkpoint(weights_only=False)
        return state

    def save(self, checkpoint: Mapping[str, Any], path: str) -> None:
        self.trainer().strategy.save_checkpoint(checkpoint, path)


_VIEWS: weakref.WeakKeyDictionary[Any, LightningView] = weakref.WeakKeyDictionary()


def hyperparameters(owner: Any) -> Mapping[str, Any]:
    """Return the hyperparameters that a module or datamodule declares.

    Accessing ``hparams`` would create them if there are none.
    """
    found = getattr(owner, "_hparams", None)
    return found if isinstance(found, Mapping) else {}


def trainer_of(module: Any) -> Any:
    """Return the Trainer that a module is attached to, None without one."""
    return getattr(module, "_trainer", None)


def give_trainer(module: Any, trainer: Any) -> None:
    """Attach a Trainer to a copy of a module."""
    object.__setattr__(module, "_trainer", trainer)


def is_redirected(module: Any) -> bool:
    """Return whether the coming call of a module is that of its step, by a wrapper that a strategy put around it."""
    forward = vars(module).get("forward")
    return "_ForwardRedirection" in str(getattr(forward, "__qualname__", ""))


def last_saved(callback: Any) -> str:
    """Return the path of the last checkpoint that a callback has saved, empty before the first."""
    return str(getattr(callback, "_last_checkpoint_saved", "") or "")


def _logged_step(trainer: Any) -> int:
    """Return the step that a Trainer logs with, which differs from ``global_step`` for several optimizers."""
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


def _has_validation_data(trainer: Any) -> bool:
    source = getattr(trainer.fit_loop.epoch_loop.val_loop, "_data_source", None)
    is_defined = getattr(source, "is_defined", None)
    return bool(is_defined()) if callable(is_defined) else trainer.val_dataloaders is not None


def _logged_for_epochs(loop: Any) -> dict[str, Any]:
    """Return a loop's results that every rank logs for a whole epoch, by the names that metrics have then."""
    results = getattr(loop, "_results", None)
    found = {}
    for entry in results.values() if isinstance(results, dict) else ():
        meta = getattr(entry, "meta", None)
        if meta is None or not meta.on_epoch or getattr(meta.sync, "rank_zero_only", False):
            continue
        name = meta.forked_name(on_step=False)
        several = meta.dataloader_idx is not None and meta.add_dataloader_idx
        found[f"{name}/dataloader_idx_{meta.dataloader_idx}" if several else name] = entry
    return found


def _epoch_metrics(loop: Any) -> set[int]:
    """Return the identities of the metric objects in a loop's results that are logged for a whole epoch."""
    results = getattr(loop, "_results", None)
    found = set()
    for entry in results.values() if isinstance(results, dict) else ():
        if not getattr(entry, "is_tensor", True) and getattr(getattr(entry, "meta", None), "on_epoch", False):
            found.add(id(getattr(entry, "value", None)))
    return found

"""A stand-in for a ModelCheckpoint: looks up the monitored metric when it would save, and writes nothing.

A ModelCheckpoint judges only whether the metric exists. Lightning's own code still judges it; what follows, the
ranking, the names and the files, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.frameworks.lightning import namespaces, private_api

# A ModelCheckpoint saves in these; in `setup` it checks its folder, and if training raises it writes.
_HOOKS = ("on_train_start", "on_train_batch_end", "on_train_epoch_end", "on_validation_end")


def checkpoint_stand_in(callback: Any) -> Any:
    """Return a stand-in for a ModelCheckpoint that monitors a metric; None for any other callback."""
    base = namespaces.base_callback(type(callback))
    if base is None or not getattr(callback, "monitor", None) or not getattr(callback, "save_top_k", 0):
        return None
    _write_nothing(callback)

    def forwarding(hook: str) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: getattr(callback, hook)(*args, **kwargs)

    hooks = {hook: forwarding(hook) for hook in _HOOKS if hasattr(type(callback), hook)}
    return type("CheckpointStandIn", (base,), {"__module__": __name__, **hooks})()


def _write_nothing(callback: Any) -> None:
    def save(trainer: Any, *args: Any) -> None:
        # As if it had saved: it does not save twice in a step.
        private_api.saved(callback, trainer.global_step)

    # On the instance, which is not shared: a script makes new callbacks for each run.
    vars(callback).update(dict.fromkeys(private_api.SAVES, save))

"""In the place of a ModelCheckpoint: looks for the metric that it monitors when it would save, and writes nothing.

Whether the metric is there is all that a ModelCheckpoint judges. Lightning's own code goes on judging it; what follows
that, the ranking, the names and the files, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.frameworks.lightning import namespaces

# In these a ModelCheckpoint saves; in `setup` it looks at its folder, and when training raises it writes.
_HOOKS = ("on_train_start", "on_train_batch_end", "on_train_epoch_end", "on_validation_end")


def checkpoint_stand_in(callback: Any) -> Any:
    """A callback that is no ModelCheckpoint to Lightning; None for what is none either, or monitors nothing."""
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
        # As if it had: it does not save twice in a step.
        callback._last_global_step_saved = trainer.global_step

    # On the instance, which nobody else has: a script makes its callbacks anew for each run.
    vars(callback).update(_save_monitor_checkpoint=save, _save_last_checkpoint=save, _save_checkpoint=save)

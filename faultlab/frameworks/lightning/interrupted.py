"""A fit of a module that is stopped after some epochs, or continues from a checkpoint, and shows its moments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from faultlab.frameworks.foreign import Moments
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.resume import trusting

_QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def fit(
    made: Any, arguments: Mapping[str, Any], moments: Moments, *, stop_after: int = 0, resume: str | None = None
) -> Any:
    """Fit a module and return its Trainer; see `Foreign.fit`."""
    module, *data = made if isinstance(made, tuple) else (made,)
    namespace = sys.modules[namespaces.namespace_of(type(module))]

    class Following(namespace.Callback):  # type: ignore[misc,name-defined]
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            moments.begins()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            moments.trains(parts_of(trainer))

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            moments.batch(trainer.current_epoch, batch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            moments.epoch(trainer.current_epoch + 1)
            if trainer.current_epoch + 1 == stop_after:
                # Lightning would continue to the minimum of epochs and steps.
                trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
                trainer.should_stop = True

    callbacks = [*(arguments.get("callbacks") or []), Following()]
    trainer = namespace.Trainer(**{**_QUIET, **arguments, "callbacks": callbacks})
    given = [*data[0]] if data and isinstance(data[0], (tuple, list)) else data
    if given and hasattr(given[0], "train_dataloader"):
        trainer.fit(module, datamodule=given[0], ckpt_path=resume, **trusting(trainer.fit))
    else:
        trainer.fit(module, *given, ckpt_path=resume, **trusting(trainer.fit))
    return trainer


def parts_of(trainer: Any) -> dict[str, Any]:
    """Return the module, the optimizers and the schedulers of a training, by name."""
    parts = {"module": trainer.lightning_module}
    parts |= {f"optimizer {number}": one for number, one in enumerate(trainer.optimizers)}
    return parts | {f"scheduler {number}": one.scheduler for number, one in enumerate(trainer.lr_scheduler_configs)}

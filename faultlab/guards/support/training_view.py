"""What guards see of a training, whoever drives it: the `TrainingView`, with what a view says that knows no better.

A view of another trainer derives from it and gives what it knows. Guards read nothing else, and say by `Guard.skip`
what they leave out where a view can't tell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class TrainingView(Protocol):
    """One training: how far it is, how long it is to be, and what takes part in it.

    Names are Lightning's where Lightning has one. A guard only reads; None says that the view does not know.
    """

    # How far it is.

    global_step: int = 0
    """Steps that optimizers have taken since the training began, all of them together."""

    current_epoch: int = 0
    """Epochs that are over, which is the number of the one that runs."""

    batch_idx: int | None = None
    """Training batches of this epoch before the one that runs or ran last."""

    total_batch_idx: int | None = None
    """Training batches before that one since the training began."""

    sanity_checking: bool = False
    """Whether validation runs only to see whether it can, before the first epoch."""

    should_stop: bool = False
    """Whether somebody has asked the training to stop."""

    is_interrupted: bool = False
    """Whether a signal ends the training."""

    is_fitting: bool = True
    """Whether validation belongs to a training, and was not asked for by itself."""

    skips_backward: bool = False
    """Whether batches run without backward on purpose, as where averaged weights get their running statistics."""

    # How long it is to be.

    max_epochs: int | None = None
    """Epochs after which it ends; -1 for no limit."""

    max_steps: int | None = None
    """Optimizer steps after which it ends; -1 for no limit."""

    num_training_batches: float = float("inf")
    """Batches of an epoch; infinity where nobody knows."""

    num_val_batches: Sequence[float] | None = None
    """Batches of a validation, of each loader."""

    num_sanity_val_batches: Sequence[float] | None = None
    """Batches of the sanity check, of each loader."""

    validation_mode: str = ""
    """How several validation loaders are combined, in Lightning's words; empty for one after the other."""

    accumulate_grad_batches: int = 1
    """Batches whose gradients go into one step."""

    fast_dev_run: bool | int = False
    """Whether a batch or a few are run for a trial."""

    overfit_batches: float = 0
    """Batches (or their share) that are the same in each epoch, 0 for none."""

    limit_train_batches: float | None = None
    """Batches of an epoch (or their share) that are used."""

    limit_val_batches: float | None = None
    """Batches of a validation (or their share) that are used."""

    check_val_every_n_epoch: int | None = None
    """Epochs from one validation to the next; None too where batches are counted across epochs."""

    val_check_interval: int | float | None = None
    """Batches from one validation to the next, or a share of an epoch."""

    plans_validation: bool = False
    """Whether the view knows by what plan validation comes due; else that is the loop's own affair."""

    validates_by_clock: bool = False
    """Whether validation comes due by the clock."""

    enable_validation: bool | None = None
    """Whether there are both validation data and a step for them."""

    log_every_n_steps: int = 0
    """Steps from one line of the logs to the next, 0 where nothing is logged."""

    # What takes part.

    optimizers: Sequence[Any] | None = None
    """The optimizers of `torch.optim`."""

    lr_scheduler_configs: Sequence[Any] | None = None
    """The schedules, as Lightning describes them: ``scheduler``, ``interval``, ``frequency``, ``monitor``,
    ``reduce_on_plateau``.
    """

    callbacks: Sequence[Any] = ()
    """Who is called at hooks, the guards among them."""

    checkpoint_callbacks: Sequence[Any] | None = None
    """The callbacks that write checkpoints, with ``best_model_path`` and the like."""

    callback_metrics: Mapping[str, Any] | None = None
    """The latest value of each metric that was logged, by name."""

    loggers: Sequence[Any] = ()
    """Lightning loggers, to which alarms go."""

    train_dataloader: Any = None
    """The training loader, or a collection of them."""

    val_dataloaders: Any = None
    """The validation loader, or a collection of them."""

    datamodule: Any = None
    """The object that makes the loaders, where there is one beside the module."""

    ckpt_path: str | None = None
    """The checkpoint that the training goes on from."""

    default_root_dir: str = "."
    """The folder that checkpoints are written to."""

    is_scaled: bool = False
    """Whether a gradient scaler is at work, which meets infinite gradients on purpose and skips their step."""

    is_flattened: bool = False
    """Whether optimizers hold flattened or sharded parameters instead of the module's own."""

    world_size: int = 1
    """Processes that train together."""

    is_global_zero: bool = True
    """Whether this process is the one of them that writes and tells."""

    @property
    def has_validation_data(self) -> bool:
        """Whether somebody gives a validation loader, though nobody may have asked for it yet."""
        return self.val_dataloaders is not None

    @property
    def logged_step(self) -> int:
        """The step under which numbers are logged at this moment."""
        return self.global_step

    @property
    def log_name(self) -> str:
        """The name of the `logging.Logger` that tells what is no alarm."""
        return "faultlab.guards"

    def settings(self) -> Mapping[str, Any]:
        """Return the settings that a configuration consists of, by name."""
        return {}

    def epoch_metrics(self) -> tuple[set[int], set[int]]:
        """Return the identities of the metric objects that are logged for whole epochs, in training and validation."""
        return set(), set()

    def forward_context(self) -> contextlib.AbstractContextManager[Any]:
        """Return what a forward pass is to be run in to have the training's precision."""
        return contextlib.nullcontext()

    def refuses_checkpoint(self) -> str:
        """Return why this process can write no checkpoint, empty where it can."""
        return "there is no Trainer that could"

    def checkpoint(self) -> dict[str, Any]:
        """Return what would be saved now, with ``state_dict``, ``optimizer_states`` and ``global_step``."""
        raise RuntimeError(self.refuses_checkpoint())

    def save(self, checkpoint: Mapping[str, Any], path: str) -> None:
        """Write a checkpoint to a file."""
        raise RuntimeError(self.refuses_checkpoint())

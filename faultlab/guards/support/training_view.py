"""The `TrainingView`: what guards see of a training, whichever loop runs it.

The view of another trainer derives from it and overrides what it knows; the defaults stand for unknown values. Guards
read nothing else, and report looks that they skip for lack of a value by `Guard.skip`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from faultlab.guards.support.terms import TRAINERS, Terms


class TrainingView(Protocol):
    """One training: its progress, its planned length, and the objects that take part in it.

    Names are Lightning's if Lightning has one. Guards only read. None means that the view does not know.
    """

    # Progress.

    global_step: int = 0
    """Steps of all optimizers together since the training started."""

    current_epoch: int = 0
    """Completed epochs, which is the number of the running one."""

    batch_idx: int | None = None
    """Training batches of this epoch before the current one."""

    total_batch_idx: int | None = None
    """Training batches before the current one since the training started."""

    sanity_checking: bool = False
    """True if the running validation is the sanity check before the first epoch."""

    should_stop: bool = False
    """True if the training was asked to stop."""

    is_interrupted: bool = False
    """True if a signal ends the training."""

    is_fitting: bool = True
    """True if validation is part of a training, and not run by itself."""

    skips_backward: bool = False
    """True if batches run without backward on purpose, such as to update the running statistics of averaged weights."""

    shows_batches: bool = True
    """True if hooks are called with the batches, False if they are called with None."""

    terms: Terms = TRAINERS
    """What the user's code calls the parts of the training."""

    fetched: int = 1
    """Training batches that the loop has fetched for the current one; it calls the module for each of them."""

    # Planned length.

    max_epochs: int | None = None
    """Epochs after which the training ends; -1 for no limit."""

    max_steps: int | None = None
    """Optimizer steps after which the training ends; -1 for no limit."""

    num_training_batches: float = float("inf")
    """Batches of an epoch; infinity if unknown."""

    num_val_batches: Sequence[float] | None = None
    """Batches of a validation, for each loader."""

    num_sanity_val_batches: Sequence[float] | None = None
    """Batches of the sanity check, for each loader."""

    validation_mode: str = ""
    """The mode of Lightning's CombinedLoader for several validation loaders; empty if they run in sequence."""

    accumulate_grad_batches: int = 1
    """Batches whose gradients are accumulated for one step."""

    fast_dev_run: bool | int = False
    """True if only one or a few batches are run, as a trial."""

    overfit_batches: float = 0
    """Batches (or their share) that are the same in each epoch; 0 for none."""

    limit_train_batches: float | None = None
    """Batches of an epoch (or their share) that are used."""

    limit_val_batches: float | None = None
    """Batches of a validation (or their share) that are used."""

    check_val_every_n_epoch: int | None = None
    """Epochs between validations; None also if batches are counted across epochs."""

    val_check_interval: int | float | None = None
    """Batches between validations, or a share of an epoch."""

    plans_validation: bool = False
    """True if the view knows when validation is due; otherwise the loop decides."""

    validates_by_clock: bool = False
    """True if validation is due by the clock."""

    enable_validation: bool | None = None
    """True if there are both validation data and a validation step."""

    log_every_n_steps: int = 0
    """Steps between log entries; 0 if nothing is logged."""

    # Participants.

    optimizers: Sequence[Any] | None = None
    """The optimizers, of `torch.optim`."""

    lr_scheduler_configs: Sequence[Any] | None = None
    """The schedules as Lightning's LRSchedulerConfig, or objects with the same attributes."""

    stepped_schedulers: Sequence[tuple[Any, int]] | None = None
    """The schedulers that a loop of the user's own has stepped so far, each with its turns before the first one."""

    callbacks: Sequence[Any] = ()
    """The callbacks, the guards among them."""

    checkpoint_callbacks: Sequence[Any] | None = None
    """The callbacks that save checkpoints, with attributes such as ``best_model_path``."""

    callback_metrics: Mapping[str, Any] | None = None
    """The latest value of each logged metric, by name."""

    loggers: Sequence[Any] = ()
    """The Lightning loggers that alarms are sent to."""

    train_dataloader: Any = None
    """The training loader, or a collection of them."""

    val_dataloaders: Any = None
    """The validation loader, or a collection of them."""

    datamodule: Any = None
    """The object that creates the loaders, if it is not the module."""

    ckpt_path: str | None = None
    """The checkpoint that the training resumes from."""

    default_root_dir: str = "."
    """The folder for checkpoints."""

    is_scaled: bool = False
    """True if a gradient scaler is used, which produces infinite gradients on purpose and skips their step."""

    is_flattened: bool = False
    """True if optimizers hold flattened or sharded parameters instead of the module's own."""

    is_sharded: bool = False
    """True if the ranks share the module's own parameters: FSDP2 and tensor parallelism."""

    world_size: int = 1
    """Processes that train together."""

    is_meeting: bool = True
    """True if all ranks call the current hook at the same place of the training, so that an exchange is possible."""

    computed: Sequence[Any] = ()
    """The metrics that a loop's ranks have computed since they met, as `Computed`; as many on each rank."""

    is_apart: bool = False
    """True if all ranks have validated since they met, each on its share of the data, and have exchanged nothing."""

    waited: float = 0.0
    """Seconds that this rank has waited for the others before a hook that is called where the ranks meet."""

    shares_buffers: bool = False
    """True if DistributedDataParallel broadcasts the buffers of rank 0 before each forward pass."""

    broadcast_buffers: int = 0
    """The fingerprint of the buffers right after a broadcast to all ranks, the latest that was taken; 0 if none was."""

    is_global_zero: bool = True
    """True if this process is the one that writes and logs."""

    @property
    def has_validation_data(self) -> bool:
        """True if there is a validation loader, even if it was not requested yet."""
        return self.val_dataloaders is not None

    @property
    def logged_step(self) -> int:
        """The step that numbers are logged with."""
        return self.global_step

    @property
    def log_name(self) -> str:
        """The name of the `logging.Logger` for messages that are not alarms."""
        return "faultlab.guards"

    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the training, by name."""
        return {}

    def epoch_metrics(self) -> tuple[set[int], set[int]]:
        """Return the identities of the metric objects that are logged for whole epochs, in training and validation."""
        return set(), set()

    def epoch_names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names that every rank logs for whole epochs, in training and validation."""
        return (), ()

    def validation_sums(self) -> Mapping[str, tuple[Any, Any]]:
        """Return this rank's sum and number of samples of each mean that is logged for a whole validation, by name.

        They are tensors, so that none has to be read after each batch. After the last one they are reduced and unknown.
        """
        return {}

    def validation_totals(self) -> Sequence[str]:
        """Return the names of metrics that are added up over the batches and ranks of a validation."""
        return ()

    def forward_context(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that gives a forward pass the training's precision."""
        return contextlib.nullcontext()

    def call_after_guards(self, callback: Any) -> Callable[[], None] | None:
        """Have a callback called after the guards at each hook, and return what ends that; None if it is impossible."""
        return None

    def refuses_checkpoint(self) -> str:
        """Return why this process can't save a checkpoint, empty if it can."""
        return "there is no Trainer to save it"

    def checkpoint(self) -> dict[str, Any]:
        """Return the checkpoint of the current state, with ``state_dict``, ``optimizer_states`` and ``global_step``."""
        raise RuntimeError(self.refuses_checkpoint())

    def save(self, checkpoint: Mapping[str, Any], path: str) -> None:
        """Save a checkpoint to a file."""
        raise RuntimeError(self.refuses_checkpoint())

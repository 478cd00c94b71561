"""Lightning's internals that faultlab attaches to, by name. No other module has them: any release may change them.

A path is ``MODULE:ATTRIBUTE`` below the namespace, as `part` takes it. The guards, which import nothing of this
package, have theirs in `faultlab.guards.support.trainer_view`; `faultlab.core.packages` has those that target profiles
show.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

# Trainers, and what calls hooks.
TRAINER = "trainer:Trainer"
RUN = "_run"
CALLS = "trainer:call"
CALL_CALLBACKS = "_call_callback_hooks"
CALL_STRATEGY = "_call_strategy_hook"
CALL_PREPARATIONS = ("_call_lightning_module_hook", "_call_lightning_datamodule_hook")
CALLBACK_CONNECTOR = "trainer.connectors.callback_connector:_CallbackConnector"
ATTACH_CALLBACKS = "_attach_model_callbacks"
TIMER = "_EvaluationLoopTimer"
DETECTS_ANOMALIES = "_detect_anomaly"

# Loops.
EPOCH_LOOP = "loops.training_epoch_loop:_TrainingEpochLoop"
EVALUATION_LOOP = "loops.evaluation_loop:_EvaluationLoop"
RUNNING_LOOPS = ("loops.fit_loop:_FitLoop", EVALUATION_LOOP, "loops.prediction_loop:_PredictionLoop")

# Data. A training_step with a `dataloader_iter` argument draws its batches through the second fetcher.
FETCHER = "loops.fetchers:_DataFetcher"
FETCHERS = ("loops.fetchers:_PrefetchDataFetcher", "loops.fetchers:_DataFetcherWrapper")
TRANSFER = "_apply_batch_transfer_handler"
DATA_CONNECTOR = "trainer.connectors.data_connector:_DataConnector"
PREPARE_LOADER = "_prepare_dataloader"
LOADER_SOURCE = "trainer.connectors.data_connector:_DataLoaderSource"
SAMPLING = "trainer.connectors:data_connector"
CHOOSE_SAMPLER = "_get_distributed_sampler"
# The arguments that a DataLoader was made with, in its instance.
SAVED_ARGUMENTS = "__pl_saved_args"
SAVED_NAMES = "__pl_saved_arg_names"
SAVED_KEYWORDS = "__pl_saved_kwargs"
SAVED_DATASET = "__dataset"

# Optimizers, checkpoints and logging.
OPTIMIZER = "core.optimizer:LightningOptimizer"
CHECKPOINT_CONNECTOR = "trainer.connectors.checkpoint_connector:_CheckpointConnector"
SAVE_INTERVALS = ("_every_n_epochs", "_every_n_train_steps")
SAVES = ("_save_monitor_checkpoint", "_save_last_checkpoint", "_save_checkpoint")
LOGGER_CONNECTOR = "trainer.connectors.logger_connector.logger_connector:_LoggerConnector"
RESULT_METRIC = "trainer.connectors.logger_connector.result:_ResultMetric"
EXPERIMENT = "_experiment"
# The attributes where loggers keep their folder.
LOGGER_FOLDERS = ("_root_dir", "_save_dir")
WANDB_SETTINGS = "_wandb_init"
TRACKING_URI = "_tracking_uri"
FILE_SYSTEM = "_fs"

# Averaging of weights.
AVERAGES_FROM, AVERAGES_RATES = "_swa_epoch_start", "_swa_lrs"

# Ranks.
DDP = "strategies.ddp:DDPStrategy"
STRATEGY = "strategies.strategy:Strategy"
LAUNCHERS = (
    "strategies.launchers.subprocess_script:_SubprocessScriptLauncher",
    "strategies.launchers.multiprocessing:_MultiProcessingLauncher",
)
SET_UP_SHARDING = "_setup_distributed"
RANK_ZERO = "utilities.rank_zero:rank_zero_only"

_FABRIC = {"pytorch_lightning": "lightning_fabric", "lightning.pytorch": "lightning.fabric"}


def part(namespace: str, path: str) -> Any:
    """Return an attribute of a Lightning submodule, such as `OPTIMIZER`."""
    module_path, _, attribute = path.partition(":")
    module: ModuleType = importlib.import_module(f"{namespace}.{module_path}")
    return getattr(module, attribute)


def fabric(namespace: str) -> str:
    """Return the package of Fabric that a namespace uses."""
    return _FABRIC[namespace]


def checkpoint_storage(namespace: str) -> Any:
    """Return the class that writes checkpoints to files and reads them."""
    return importlib.import_module(f"{fabric(namespace)}.plugins.io.torch_io").TorchCheckpointIO


def saves_on_all_ranks(strategy: Any) -> bool:
    """Return True if every rank of a sharding strategy writes a checkpoint file of its own."""
    return bool(strategy._save_distributed_checkpoint)


def without_launcher(strategy: Any) -> None:
    """Let a strategy start no processes."""
    strategy._launcher = None


def unread_loaders(loop: Any) -> Any:
    """Return the combined loader of a fit loop, or what it would get on request."""
    return loop._data_source.dataloader() if loop._combined_loader is None else loop._combined_loader


def saved(callback: Any, step: int) -> None:
    """Let a ModelCheckpoint take a step as saved."""
    callback._last_global_step_saved = step


def searches(callback: Any) -> bool:
    """Return True if a Tuner calls fit for this callback; that fit ends as soon as the callback has its result."""
    return bool(getattr(callback, "_early_exit", False))


def found_rate(search: Any, rate: float, points: int) -> Any:
    """Return a result of a search for the learning rate that has found this one."""
    tuner = importlib.import_module(type(search).__module__.replace("callbacks", "tuner"))
    found = tuner._LRFinder(search._mode, rate, rate, points)
    found.results = {"lr": [rate] * points, "loss": [1 - point / points for point in range(points)]}
    return found


def first_batch_size(search: Any) -> Any:
    """Return the batch size that a search begins with."""
    return search._init_val

"""Ready-made guards: Lightning callbacks that detect a training that goes wrong and report the cause.

``Trainer(callbacks=guards.all())`` has all cheap ones. This package imports nothing else of faultlab.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faultlab.guards.accumulation_divided import AccumulationDivided
from faultlab.guards.alarm import Alarm, GuardWarning
from faultlab.guards.average_follows import AverageFollows
from faultlab.guards.backward_faithful import BackwardFaithful
from faultlab.guards.batch_schema import BatchSchema
from faultlab.guards.batches_differ import BatchesDiffer
from faultlab.guards.checkpoints_reload import CheckpointsReload
from faultlab.guards.clipping_acts import ClippingActs
from faultlab.guards.collectives_agree import CollectivesAgree
from faultlab.guards.data_sharded import DataSharded
from faultlab.guards.divergence import Divergence
from faultlab.guards.dropout_alive import DropoutAlive
from faultlab.guards.ends_supervised import EndsSupervised
from faultlab.guards.evaluation_repeats import EvaluationRepeats
from faultlab.guards.frozen_statistics import FrozenStatistics
from faultlab.guards.future_hidden import FutureHidden
from faultlab.guards.gradients import Gradients
from faultlab.guards.gradients_cleared import GradientsCleared
from faultlab.guards.gradients_used import GradientsUsed
from faultlab.guards.guard import LEVELS, Action, Guard, Level
from faultlab.guards.heartbeat import Heartbeat
from faultlab.guards.hf_trainer import hf
from faultlab.guards.hooks_called import HooksCalled
from faultlab.guards.initial_weights import InitialWeights
from faultlab.guards.items_apart import ItemsApart
from faultlab.guards.known_good import KnownGood, KnownGoodRecorder
from faultlab.guards.labels import Labels
from faultlab.guards.labels_aligned import LabelsAligned
from faultlab.guards.learning_rate import LearningRate
from faultlab.guards.loader_delivers import LoaderDelivers
from faultlab.guards.logged_metrics import LoggedMetrics
from faultlab.guards.logged_shares import LoggedShares
from faultlab.guards.loss_arguments import LossArguments
from faultlab.guards.loss_contract import LossContract
from faultlab.guards.loss_falls import LossFalls
from faultlab.guards.loss_inputs import LossInputs
from faultlab.guards.metrics_pooled import MetricsPooled
from faultlab.guards.metrics_recomputed import MetricsRecomputed
from faultlab.guards.metrics_separate import MetricsSeparate
from faultlab.guards.metrics_synced import MetricsSynced
from faultlab.guards.modes import Modes
from faultlab.guards.monitors_exist import MonitorsExist
from faultlab.guards.normalisation_alive import NormalisationAlive
from faultlab.guards.optimizer_coverage import OptimizerCoverage
from faultlab.guards.optimizer_settings import OptimizerSettings
from faultlab.guards.outputs_vary import OutputsVary
from faultlab.guards.overfits_batch import OverfitsBatch
from faultlab.guards.padding_ignored import PaddingIgnored
from faultlab.guards.parameters_move import ParametersMove
from faultlab.guards.plain_loop import attach
from faultlab.guards.ranks_agree import RanksAgree
from faultlab.guards.rate_used import RateUsed
from faultlab.guards.run_ended import RunEnded
from faultlab.guards.samples_independent import SamplesIndependent
from faultlab.guards.schedule_fits import ScheduleFits
from faultlab.guards.steps_taken import StepsTaken
from faultlab.guards.stragglers import Stragglers
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.train_validation_alike import TrainValidationAlike
from faultlab.guards.updates_kept import UpdatesKept
from faultlab.guards.validation_due import ValidationDue
from faultlab.guards.validation_repeats import ValidationRepeats
from faultlab.guards.validation_runs import ValidationRuns
from faultlab.guards.verification import Verification
from faultlab.guards.verifying import verify
from faultlab.guards.watching import watch
from faultlab.guards.weights_intact import WeightsIntact

__all__ = [
    "AccumulationDivided",
    "Alarm",
    "AverageFollows",
    "BackwardFaithful",
    "BatchSchema",
    "BatchesDiffer",
    "CheckpointsReload",
    "ClippingActs",
    "CollectivesAgree",
    "DataSharded",
    "Divergence",
    "DropoutAlive",
    "EndsSupervised",
    "EvaluationRepeats",
    "FrozenStatistics",
    "FutureHidden",
    "Gradients",
    "GradientsCleared",
    "GradientsUsed",
    "Guard",
    "GuardSet",
    "GuardWarning",
    "Heartbeat",
    "HooksCalled",
    "InitialWeights",
    "ItemsApart",
    "KnownGood",
    "KnownGoodRecorder",
    "Labels",
    "LabelsAligned",
    "LearningRate",
    "LoaderDelivers",
    "LoggedMetrics",
    "LoggedShares",
    "LossArguments",
    "LossContract",
    "LossFalls",
    "LossInputs",
    "MetricsPooled",
    "MetricsRecomputed",
    "MetricsSeparate",
    "MetricsSynced",
    "Modes",
    "MonitorsExist",
    "NormalisationAlive",
    "OptimizerCoverage",
    "OptimizerSettings",
    "OutputsVary",
    "OverfitsBatch",
    "PaddingIgnored",
    "ParametersMove",
    "RanksAgree",
    "RateUsed",
    "RunEnded",
    "SamplesIndependent",
    "ScheduleFits",
    "StepsTaken",
    "Stragglers",
    "TrainValidationAlike",
    "UpdatesKept",
    "ValidationDue",
    "ValidationRepeats",
    "ValidationRuns",
    "Verification",
    "WeightsIntact",
    "all",
    "attach",
    "classes",
    "hf",
    "verify",
    "watch",
]


def classes(level: Level = "full") -> list[type[Guard]]:
    """Return the guard classes of a level.

    Args:
        level: "cheap" for the cheap guards, "full" for all of them, including the optional ones.

    Returns:
        The classes, sorted by name.

    Raises:
        ValueError: The level is unknown.
    """
    if level not in LEVELS:
        raise ValueError(f"invalid level {level!r}: expected {' or '.join(LEVELS)}")
    found = [value for name in __all__ if isinstance(value := globals()[name], type) and value is not Guard]
    return [cls for cls in found if issubclass(cls, Guard) and (level == "full" or cls.level == "cheap")]


def all(
    level: Level = "cheap",
    *,
    monitor: str = "",
    mode: str = "",
    profile: str | Path | None = None,
    leave_out: Iterable[str] = (),
    action: Action = "raise",
) -> GuardSet:
    """Return all ready-made guards of a level, except the optional ones, as one callback.

    Args:
        level: "cheap" for guards that cost next to nothing, "full" for all.
        monitor: The logged metric that the training is judged by. Guards that need one use the validation loss by
            default, if a logged name looks like one.
        mode: Whether lower ("min") or higher ("max") is better for ``monitor``. Without it, guards infer it from the
            name.
        profile: The file of known good runs for `KnownGood`. Without it, `KnownGood` is left out.
        leave_out: Class names of guards that do not fit the training.
        action: What an alarm does, as in `Guard`.

    Returns:
        A callback to pass to the Trainer, which can be iterated over.

    Raises:
        ValueError: The level, the action, or a name in ``leave_out`` is unknown.
    """
    left_out = set(leave_out)
    if unknown := left_out - {cls.__name__ for cls in classes()}:
        raise ValueError(f"unknown guard: {', '.join(sorted(unknown))}")
    chosen: builtins.list[Guard] = []
    for cls in classes(level):
        arguments: dict[str, Any] = cls.arguments(monitor, mode)
        if cls is KnownGood:
            arguments["profile"] = profile
        if cls.__name__ not in left_out and not cls.optional and not (cls is KnownGood and profile is None):
            chosen.append(cls(action=action, **arguments))
    return GuardSet(chosen)

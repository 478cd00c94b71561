"""The sorting of a script's callbacks: guards, parts of the training, or left out with a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.checkpoint_stand_in import checkpoint_stand_in

# Lightning's own callbacks that judge the training, and those that are part of it; the others write or display.
_JUDGING = ("EarlyStopping", "SpikeDetection")
_TRAINING = ("BaseFinetuning", "BackboneFinetuning", "GradientAccumulationScheduler", "LambdaCallback", "ModelPruning",
             "StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging", "LearningRateFinder",
             "BatchSizeFinder")  # fmt: skip
_WHY = {
    "ModelCheckpoint": "writes files, and monitors nothing",
    "OnExceptionCheckpoint": "writes files, and judges nothing",
    "SaveConfigCallback": "writes files, and judges nothing",
    "LearningRateMonitor": "needs a logger, and judges nothing",
    "DeviceStatsMonitor": "needs a logger, and judges nothing",
    "ThroughputMonitor": "needs a logger, and judges nothing",
    "Timer": "ends the training by wall-clock time",
}
_SHOWS = "shows progress, and judges nothing"
_ASKED = "listed under `without`"


@dataclass
class Sorted:
    """The guards by name, the callbacks that take part in training, and the reasons for leaving out the others."""

    guards: dict[str, Any] = field(default_factory=dict)
    training: list[Any] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def sort(callbacks: Iterable[Any], without: Collection[str] = ()) -> Sorted:
    """Sort the callbacks; those whose class name is in ``without`` are left out in any case."""
    found = Sorted()
    for callback in callbacks:
        cls = type(callback)
        name = cls.__name__
        if name in without:
            found.left_out.append((name, _ASKED))
        elif not namespaces.is_lightnings(cls) or name in _JUDGING:
            found.guards[name if name not in found.guards else f"{name}-{len(found.guards)}"] = callback
        elif name in _TRAINING:
            found.training.append(callback)
        elif (stand_in := checkpoint_stand_in(callback)) is not None:
            found.training.append(stand_in)
            why = f"it writes files; a stand-in takes its place, which only checks that {callback.monitor} is logged"
            found.left_out.append((name, why))
        else:
            found.left_out.append((name, _WHY.get(name, _SHOWS)))
    return found

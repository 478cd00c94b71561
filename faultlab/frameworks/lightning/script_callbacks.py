"""What becomes of the callbacks of a training script: guards, parts of the training, or left out with a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.checkpoint_stand_in import checkpoint_stand_in

# Lightning's own callbacks that judge the training, and those that are part of it; the rest writes or shows.
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
    "Timer": "ends the training by the clock",
}
_SHOWS = "shows what goes on, and judges nothing"
_ASKED = "`without` names it"


@dataclass
class Sorted:
    """The guards by name, the callbacks that train along, and of the rest why each is left out."""

    guards: dict[str, Any] = field(default_factory=dict)
    training: list[Any] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def sort(callbacks: Iterable[Any], without: Collection[str] = ()) -> Sorted:
    """Sorts them; those of a class whose name is in ``without`` are left out whatever they do."""
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
            why = f"writes files; a stand-in raises as it does where {callback.monitor} is not logged"
            found.left_out.append((name, why))
        else:
            found.left_out.append((name, _WHY.get(name, _SHOWS)))
    return found

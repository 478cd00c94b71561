"""The injection points, the places where faults can act, as data: one frozen dataclass each.

A declaration passes its injection point as ``seam``. Importing this package does not import torch, so that the driver
can plan with the points. A hook attaches a framework to a point (see `faultlab.injection.hooks`).
"""

from faultlab.catalogue.injection_points.data import Batch, Loader, LoaderArguments, Loaders, Sample
from faultlab.catalogue.injection_points.functions import Attention, ClassWeights, StopGradient
from faultlab.catalogue.injection_points.model import (
    Architecture,
    HeadInput,
    ModuleArguments,
    ModuleOutput,
    TrainerArguments,
    Weights,
)
from faultlab.catalogue.injection_points.optimisation import (
    Backward,
    Clipping,
    Gradients,
    Loss,
    Optimizers,
    OptimizerState,
    OptimizerStep,
    ZeroGrad,
)
from faultlab.catalogue.injection_points.point import InjectionPoint
from faultlab.catalogue.injection_points.ranks import (
    Collective,
    Launch,
    Replica,
    ReplicaArguments,
    SamplerArguments,
    SamplerEpoch,
    Sharding,
)
from faultlab.catalogue.injection_points.steps import Definition, Mode, StepCall, StepOutput
from faultlab.catalogue.injection_points.surroundings import (
    Averaging,
    CallbackHook,
    Checkpoint,
    LoggerCall,
    Logging,
    MetricReset,
    Process,
    RandomState,
)

__all__ = [
    "Architecture",
    "Attention",
    "Averaging",
    "Backward",
    "Batch",
    "CallbackHook",
    "Checkpoint",
    "ClassWeights",
    "Clipping",
    "Collective",
    "Definition",
    "Gradients",
    "HeadInput",
    "InjectionPoint",
    "Launch",
    "Loader",
    "LoaderArguments",
    "Loaders",
    "LoggerCall",
    "Logging",
    "Loss",
    "MetricReset",
    "Mode",
    "ModuleArguments",
    "ModuleOutput",
    "OptimizerState",
    "OptimizerStep",
    "Optimizers",
    "Process",
    "RandomState",
    "Replica",
    "ReplicaArguments",
    "Sample",
    "SamplerArguments",
    "SamplerEpoch",
    "Sharding",
    "StepCall",
    "StepOutput",
    "StopGradient",
    "TrainerArguments",
    "Weights",
    "ZeroGrad",
]

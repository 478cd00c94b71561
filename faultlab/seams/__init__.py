"""The seams: where injectors attach. An injector never patches anything itself."""

from faultlab.seams.backward import Backward, Gradients, Loss, OptimizerStep, ZeroGrad
from faultlab.seams.base import Seam, Site, attach
from faultlab.seams.callbacks import CallbackHook
from faultlab.seams.checkpoints import Checkpoint, Restored
from faultlab.seams.clipping import Clipping
from faultlab.seams.construction import ModuleArguments, TrainerArguments
from faultlab.seams.data import Batch, Loader, Stream
from faultlab.seams.forward import HeadInput, ModuleInput, ModuleOutput
from faultlab.seams.loading import LoaderArguments, Loaders, Loading, Sample
from faultlab.seams.logging import Logged, LoggerCall, Logging, MetricReset
from faultlab.seams.mode import Mode
from faultlab.seams.model import Architecture, Optimizers, OptimizerState, Weights
from faultlab.seams.process import Process, RandomState
from faultlab.seams.steps import Definition, StepCall, StepOutput

__all__ = [
    "Architecture",
    "Backward",
    "Batch",
    "CallbackHook",
    "Checkpoint",
    "Clipping",
    "Definition",
    "Gradients",
    "HeadInput",
    "Loader",
    "LoaderArguments",
    "Loaders",
    "Loading",
    "Logged",
    "LoggerCall",
    "Logging",
    "Loss",
    "MetricReset",
    "Mode",
    "ModuleArguments",
    "ModuleInput",
    "ModuleOutput",
    "OptimizerState",
    "OptimizerStep",
    "Optimizers",
    "Process",
    "RandomState",
    "Restored",
    "Sample",
    "Seam",
    "Site",
    "StepCall",
    "StepOutput",
    "Stream",
    "TrainerArguments",
    "Weights",
    "ZeroGrad",
    "attach",
]

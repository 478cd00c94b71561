"""The seams: where injectors attach. An injector never patches anything itself."""

from faultlab.frameworks.lightning.seams.backward import Backward, Gradients, Loss, OptimizerStep, ZeroGrad
from faultlab.frameworks.lightning.seams.callbacks import CallbackHook
from faultlab.frameworks.lightning.seams.checkpoints import Checkpoint, Restored
from faultlab.frameworks.lightning.seams.clipping import Clipping
from faultlab.frameworks.lightning.seams.construction import ModuleArguments, TrainerArguments
from faultlab.frameworks.lightning.seams.data import Batch, Loader, Stream
from faultlab.frameworks.lightning.seams.loading import LoaderArguments, Loaders, Loading, Sample
from faultlab.frameworks.lightning.seams.logging import Logged, LoggerCall, Logging, MetricReset
from faultlab.frameworks.lightning.seams.mode import Mode
from faultlab.frameworks.lightning.seams.model import Architecture, Optimizers, OptimizerState, Weights
from faultlab.frameworks.lightning.seams.steps import Definition, StepCall, StepOutput
from faultlab.frameworks.torch.forward import HeadInput, ModuleInput, ModuleOutput
from faultlab.frameworks.torch.process import Process, RandomState
from faultlab.injection.seam import Seam, Site, attach

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

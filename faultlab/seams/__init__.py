"""The seams: where injectors attach. An injector never patches anything itself."""

from faultlab.seams.backward import Gradients, Loss, OptimizerStep, ZeroGrad
from faultlab.seams.base import Seam, Site, attach
from faultlab.seams.data import Batch, Loader, Stream
from faultlab.seams.forward import HeadInput, ModuleInput, ModuleOutput
from faultlab.seams.mode import Mode
from faultlab.seams.model import Architecture, Optimizers, OptimizerState, Weights
from faultlab.seams.steps import Definition, StepCall, StepOutput

__all__ = [
    "Architecture",
    "Batch",
    "Definition",
    "Gradients",
    "HeadInput",
    "Loader",
    "Loss",
    "Mode",
    "ModuleInput",
    "ModuleOutput",
    "OptimizerState",
    "OptimizerStep",
    "Optimizers",
    "Seam",
    "Site",
    "StepCall",
    "StepOutput",
    "Stream",
    "Weights",
    "ZeroGrad",
    "attach",
]

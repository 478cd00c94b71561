"""mode: failure modes of train and eval mode, and of disabled gradients."""

from __future__ import annotations

import torch

from faultlab.catalogue.injection_points import Architecture, Mode
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "mode.eval-in-training",
    seam=Mode,
    severity="major",
    effect="silent",
    cause=("eval", "mode", "training", "dropout", "batchnorm"),
    evidence=("Lightning-AI/pytorch-lightning#20216",),
)
def train_in_eval(module: torch.nn.Module, ctx: Context) -> None:
    """The module is in eval mode during training.

    Effect: dropout drops nothing, and batch normalization uses its running statistics without updating them, so those
    of a new model stay 0 and 1. No error or warning is raised. Without such layers, nothing changes.
    Why it goes undetected: gradients flow and the loss falls, without dropout even faster.
    Example:
        def training_step(self, batch, batch_idx):
            self.eval()                         # for the teacher's prediction; never switched back
    Remedy: assert in the training step that the model is in training mode, and so is every submodule that is not
    frozen.
    """
    module.eval()


@failure_mode(
    "mode.training-in-validation",
    seam=Mode,
    severity="major",
    effect="silent",
    cause=("eval", "mode", "training", "dropout", "batchnorm"),
    stages=("validate",),
    needs=("evaluation-mode",),
    evidence=("wdoppenberg/ellipse-rcnn#13", "ipolharvard/ethos-ares#20"),
)
def validate_in_training(module: torch.nn.Module, ctx: Context) -> None:
    """The module is in training mode during validation.

    Effect: dropout makes the metric noisy and too pessimistic; batch normalization uses the batch's own statistics and
    adds those of the validation data to the model. Lightning restores the mode afterwards. No error or warning is
    raised. Without such layers, nothing changes.
    Why it goes undetected: the metric is plausible, only slightly off.
    Example:
        def validation_step(self, batch, batch_idx):
            self.train()                        # torchvision's detectors return losses only then
    Remedy: assert in validation that the model is not in training mode; check that two consecutive validations agree.
    """
    module.train()


@failure_mode(
    "mode.left-eval-before-fit",
    seam=Architecture,
    severity="major",
    effect={"lightning": "warns", "lightning<2.5.5": "silent", "torch": "silent"},
    cause=("eval", "mode"),
    evidence=("Lightning-AI/pytorch-lightning#20986", "Lightning-AI/pytorch-lightning#20105"),
)
def fit_in_eval(module: torch.nn.Module, ctx: Context) -> None:
    """The module is in eval mode when `fit` begins.

    Effect: Lightning, since 2.5.5, warns that it found modules in eval mode at the start of training, and leaves them
    in it: after each validation it restores the mode that it found. Dropout and batch normalization stay off until the
    end.
    Why it goes undetected: Lightning before 2.2 switched the module to training mode itself, and pretrained models are
    loaded in eval mode, so the warning is a familiar sight.
    Example:
        self.backbone = AutoModel.from_pretrained(name)     # in eval mode
    Remedy: call `train()` on the modules that should be trained; turn the warning into an error.
    """
    module.eval()


@failure_mode(
    "mode.left-eval-after-validation",
    seam=Mode,
    severity="major",
    effect="silent",
    cause=("eval", "mode", "training", "dropout", "batchnorm"),
    stages=("train", "validate"),
    needs=("training-after-validation",),
    evidence=("Lightning-AI/pytorch-lightning#20177",),
)
def stay_in_eval(module: torch.nn.Module, ctx: Context) -> None:
    """The module stays in eval mode after the first validation.

    Effect: the first epoch is healthy; from then on, dropout and batch normalization are off. No error or warning is
    raised, because Lightning looks for eval mode only before training begins. Without such layers, nothing changes.
    Why it goes undetected: the loss falls, and drops a little at the beginning of the second epoch, as good curves do.
    Example:
        def on_train_epoch_end(self):           # after validation, and after Lightning has restored the mode
            self.eval()
            self.draw_samples()                 # no self.train()
    Remedy: assert in the training step, in every epoch, that the model is in training mode.
    """
    if ctx.stage == "validate":
        ctx.memory["validated"] = not ctx.checking
    elif ctx.memory.get("validated"):
        module.eval()


@failure_mode(
    "mode.frozen-in-training",
    seam=Mode,
    severity="major",
    effect="silent",
    cause=("eval", "mode", "teacher", "frozen", "dropout", "batchnorm"),
    needs=("resting-part",),
    evidence=("neuralmagic/sparseml#2191",),
)
def wake_frozen(module: torch.nn.Module, ctx: Context) -> None:
    """A frozen part, such as a teacher or a pretrained backbone, is in training mode, too.

    Effect: its dropout makes its outputs noisy, and its batch normalization uses the statistics of each batch and
    overwrites the pretrained ones. No error or warning is raised. Without such layers, nothing changes.
    Why it goes undetected: its parameters are frozen and stay as they were, and the loss falls towards the noisy
    targets.
    Example:
        class Distilled(nn.Module):             # train() switches all parts of a module
            def __init__(self, student, teacher):
                super().__init__()
                self.student, self.teacher = student, teacher.eval().requires_grad_(False)
    Remedy: override `train` so that it ends in `self.teacher.eval()`; assert `not self.teacher.training` in the step.
    """
    for part in layers.resting(module):
        for one in part.modules():
            # Its own `train` may keep it in eval mode.
            one.training = True


@failure_mode(
    "mode.grad-disabled",
    seam=Mode,
    severity="minor",
    effect="raises",
    cause=("require grad", "requires_grad", "grad_fn", "grad mode", "gradient"),
    evidence=("Lightning-AI/pytorch-lightning#2180",),
)
def disable_gradients(module: torch.nn.Module, ctx: Context) -> None:
    """Gradients are disabled when the training step begins.

    Effect: backward raises a `RuntimeError`: element 0 of tensors does not require grad.
    Why it goes undetected: it does not go undetected if the whole step is affected. If gradients are disabled between
    steps, for example in a validation hook, Lightning enables them again around the step under automatic optimization,
    but not under manual optimization.
    Example:
        torch.set_grad_enabled(False)           # for evaluation; an exception prevented the reset
    Remedy: use `with torch.no_grad():`, which always restores the previous state.
    """
    torch.set_grad_enabled(False)

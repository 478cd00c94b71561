"""mode: train or eval, gradients on or off."""

from __future__ import annotations

import torch

from faultlab.catalogue.injection_points import Architecture, Mode
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

    Effect: dropout drops nothing, batch normalisation uses its running statistics and never updates them, so that a new
    model's stay 0 and 1; nobody says a word. Where there is neither, nothing changes.
    Why it goes undetected: gradients flow and the loss falls, without dropout even faster.
    Example:
        def training_step(self, batch, batch_idx):
            self.eval()                         # for the teacher's prediction, and never back
    Remedy: assert `self.training` in `training_step`, and for every submodule that is not frozen.
    """
    module.eval()


@failure_mode(
    "mode.training-in-validation",
    seam=Mode,
    severity="major",
    effect="silent",
    cause=("eval", "mode", "training", "dropout", "batchnorm"),
    stages=("validate",),
    evidence=("wdoppenberg/ellipse-rcnn#13", "ipolharvard/ethos-ares#20"),
)
def validate_in_training(module: torch.nn.Module, ctx: Context) -> None:
    """The module is in training mode during validation.

    Effect: dropout makes the metric noisy and too pessimistic; batch normalisation uses the batch's own statistics,
    and takes those of the validation data into the model. Lightning restores the mode afterwards. Nobody says a word.
    Where there is neither, nothing changes.
    Why it goes undetected: the metric is plausible, only a little off.
    Example:
        def validation_step(self, batch, batch_idx):
            self.train()                        # torchvision's detectors return losses only then
    Remedy: assert `not self.training` in `validation_step`; check that two validations in a row agree.
    """
    module.train()


@failure_mode(
    "mode.left-eval-before-fit",
    seam=Architecture,
    severity="major",
    effect="warns",
    cause=("eval", "mode"),
    evidence=("Lightning-AI/pytorch-lightning#20986", "Lightning-AI/pytorch-lightning#20105"),
)
def fit_in_eval(module: torch.nn.Module, ctx: Context) -> None:
    """The module is in eval mode when `fit` begins.

    Effect: Lightning warns that it found modules in eval mode at the start of training, and leaves them so: after each
    validation it restores the mode it found. Dropout and batch normalisation are off to the end.
    Why it goes undetected: Lightning before 2.2 put the module into training mode itself; and pretrained models come in
    eval mode, so that the warning is a familiar sight.
    Example:
        self.backbone = AutoModel.from_pretrained(name)     # in eval mode
    Remedy: call `train()` on what is to be trained; turn the warning into an error.
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

    Effect: the first epoch is healthy; from then on dropout and batch normalisation are off, without a word, for
    Lightning looks for eval mode only before training begins. Where there is neither, nothing changes.
    Why it goes undetected: the loss falls, and drops a little at the beginning of the second epoch, as good curves do.
    Example:
        def on_train_epoch_end(self):           # after validation, and after Lightning has restored the mode
            self.eval()
            self.draw_samples()                 # and no self.train()
    Remedy: assert `self.training` in `training_step`, in every epoch.
    """
    if ctx.stage == "validate":
        ctx.memory["validated"] = not ctx.checking
    elif ctx.memory.get("validated"):
        module.eval()


@failure_mode(
    "mode.grad-disabled",
    seam=Mode,
    severity="minor",
    effect="raises",
    cause=("require grad", "requires_grad", "grad_fn", "grad mode", "gradient"),
    evidence=("Lightning-AI/pytorch-lightning#2180",),
)
def disable_gradients(module: torch.nn.Module, ctx: Context) -> None:
    """Gradients are switched off when the training step begins.

    Effect: backward raises a RuntimeError: element 0 of tensors does not require grad.
    Why it goes undetected: it does not, where the whole step is concerned. What is switched off between steps, in a
    validation hook say, Lightning switches on again around the step under automatic optimisation, and not under manual.
    Example:
        torch.set_grad_enabled(False)           # for the evaluation, and an exception kept it from being undone
    Remedy: use `with torch.no_grad():`, which can't be left behind.
    """
    torch.set_grad_enabled(False)

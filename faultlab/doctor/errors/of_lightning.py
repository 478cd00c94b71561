"""Errors of Lightning itself."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

_PL = "Lightning-AI/pytorch-lightning"
# Arguments that the Trainer once had: their replacement, and a public thread about the error.
_REMOVED = {
    "gpus": (
        'Write accelerator="gpu", devices=1 instead, or accelerator="auto".',
        "facebookresearch/xformers#818",
    ),
    "num_processes": ('Write accelerator="cpu", devices=N instead.', "SeanNaren/deepspeech.pytorch#694"),
    "tpu_cores": ('Write accelerator="tpu", devices=N instead.', ""),
    "auto_select_gpus": ('Write devices="auto" instead.', "Mathux/TEMOS#29"),
    "distributed_backend": ('Write strategy="ddp" instead.', "nghorbani/soma#7"),
    "checkpoint_callback": (
        "Write enable_checkpointing instead, and pass a ModelCheckpoint in callbacks=[...].",
        "v-iashin/SpecVQGAN#43",
    ),
    "early_stop_callback": ("Pass EarlyStopping in callbacks=[...] instead.", "huggingface/transformers#8342"),
    "progress_bar_refresh_rate": (
        "Write enable_progress_bar instead, or callbacks=[TQDMProgressBar(refresh_rate=N)].",
        "phlippe/uvadlc_notebooks#59",
    ),
    "weights_summary": (
        "Write enable_model_summary instead, or callbacks=[ModelSummary(max_depth=N)].",
        "sktime/pytorch-forecasting#1014",
    ),
    "resume_from_checkpoint": (
        "Remove it, and write trainer.fit(model, ckpt_path=...).",
        "MoayedHajiAli/VidStyleODE-official#2",
    ),
    "auto_lr_find": (
        "Remove it, and call Tuner(trainer).lr_find(model) before fit.",
        "aladdinpersson/Machine-Learning-Collection#170",
    ),
    "auto_scale_batch_size": (
        "Remove it, and call Tuner(trainer).scale_batch_size(model) before fit.",
        f"{_PL}#20572",
    ),
    "replace_sampler_ddp": ("Write use_distributed_sampler instead.", ""),
    "track_grad_norm": (
        "Remove it, and log lightning.pytorch.utilities.grad_norm in on_before_optimizer_step.",
        "",
    ),
    "terminate_on_nan": ("Write detect_anomaly=True or EarlyStopping(check_finite=True) instead.", ""),
    "stochastic_weight_avg": ("Pass StochasticWeightAveraging in callbacks=[...] instead.", ""),
    "multiple_trainloader_mode": ("Remove it, and pass CombinedLoader(loaders, mode) to fit.", ""),
    "amp_backend": ('Remove it; precision="16-mixed" uses torch\'s own.', ""),
    "max_nb_epochs": ("Write max_epochs instead.", f"{_PL}#4562"),
}
_EPOCH_ENDS = {
    "training": ("on_train_epoch_end", "astrobdr/MoCoV2_CIFAR10#2"),
    "validation": ("on_validation_epoch_end", "acids-ircam/RAVE#219"),
    "test": ("on_test_epoch_end", ""),
}
_NEAR_MANUAL = (
    "self.optimizers() returns one optimizer if configure_optimizers returns one, and a list if it returns several"
)

ERRORS = [
    *[
        Known(
            rf"unexpected keyword argument '{name}'|has no argument '{name}'",
            f"Trainer no longer has the argument {name}: Lightning removed it in version 2 or earlier",
            remedy,
            thread,
        )
        for name, (remedy, thread) in _REMOVED.items()
    ],
    *[
        Known(
            rf"Support for `{stage}_epoch_end` has been removed",
            f"{stage}_epoch_end is not called since Lightning 2, which rejects modules that define it",
            f"Rename it to {hook}(self), and collect what the steps return in your own list, which you clear there.",
            thread,
        )
        for stage, (hook, thread) in _EPOCH_ENDS.items()
    ],
    Known(
        r"The classmethod `(?P<name>[\w.]+)` cannot be called on an instance",
        "{name} is a class method that returns a new module; called on a module, it would leave that one's weights as "
        "they are",
        "Call it on the class and use what it returns: model = {name}(path).",
        f"{_PL}#5648",
    ),
    Known(
        r"Training with multiple optimizers is only supported with manual optimization\. Remove the `optimizer_idx`",
        "training_step takes optimizer_idx, which Lightning 2 no longer passes",
        "Remove optimizer_idx from training_step's arguments, set self.automatic_optimization = False in __init__, "
        "and step each optimizer of self.optimizers() yourself.",
        "hyyan2k/LiSenNet#8",
    ),
    Known(
        r"Training with multiple optimizers is only supported with manual optimization",
        "configure_optimizers returns several optimizers, but Lightning only steps one automatically",
        "Set self.automatic_optimization = False in __init__ and step each of self.optimizers() in training_step, "
        "or give one optimizer several parameter groups.",
        f"{_PL}#17801",
    ),
    Known(
        r"Automatic gradient clipping is not supported for manual optimization",
        "gradient_clip_val does nothing under manual optimization, so Lightning rejects it",
        "Remove gradient_clip_val from the Trainer. Between manual_backward and opt.step(), call "
        'self.clip_gradients(opt, gradient_clip_val=..., gradient_clip_algorithm="norm").',
        "galilai-group/stable-pretraining#246",
    ),
    Known(
        r"Automatic gradient accumulation is not supported for manual optimization",
        "accumulate_grad_batches does nothing under manual optimization, so Lightning rejects it",
        "Remove it from the Trainer; divide the loss by N and call opt.step() and opt.zero_grad() every N batches.",
        "threestudio-project/threestudio#59",
    ),
    Known(
        r"ModelCheckpoint\(monitor=['\"](?P<key>[^'\"]+)['\"]\)` could not find the monitored key"
        r".*?metrics: (?P<known>\[[^\]]*\])",
        "ModelCheckpoint monitors {key}, which no step logs; logged: {known}",
        'Call self.log("{key}", value) in the step that computes it, or set monitor to a logged metric.',
        "vislearn/FFF#3",
    ),
    Known(
        r"Early stopping conditioned on metric `(?P<key>[^`]+)` which is not available.*?`(?P<known>[^`]*)`",
        "EarlyStopping monitors {key}, which no step logs; logged: {known}",
        'Call self.log("{key}", value) in the step that computes it, or set monitor to a logged metric.',
        "graviraja/MLOps-Basics#21",
    ),
    Known(
        r"ReduceLROnPlateau conditioned on metric (?P<key>\S+) which is not available"
        r"\. Available metrics are: (?P<known>\[[^\]]*\])",
        "ReduceLROnPlateau monitors {key}, which is not logged when it is stepped; logged: {known}",
        'Set "monitor" in the lr_scheduler dict to a logged metric, or call self.log("{key}", value).',
        "EmperorJia/EquiCSP#1",
    ),
    Known(
        r"must include a monitor when a `?ReduceLROnPlateau",
        "ReduceLROnPlateau needs to know which logged metric to monitor",
        'Return {"optimizer": opt, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}.',
        "LearnedVector/A-Hackers-AI-Voice-Assistant#54",
    ),
    Known(
        r"doesn't follow PyTorch's LRScheduler API",
        "Lightning does not know how to step the scheduler: it is not one of torch's, or this Lightning is too old "
        "for it",
        "If the scheduler is one of torch's own, update Lightning: old versions do not know those of torch 2. If "
        "not, override lr_scheduler_step(self, scheduler, metric) and step it there.",
        f"{_PL}#15912",
    ),
    Known(
        r"`model` must be a `LightningModule`",
        "fit gets an object that is not a LightningModule of the same package as the Trainer",
        "Derive it from LightningModule, and import both from lightning.pytorch or both from pytorch_lightning.",
        "zalandoresearch/pytorch-ts#157",
    ),
    Known(
        r"`training_step` must return a Tensor, a dict, or None",
        "training_step returns something other than a loss",
        "Return the loss as a tensor, or a dict with the loss under 'loss'. A sum that starts at 0 stays a number "
        "if nothing is added to it.",
        "openvpi/DiffSinger#197",
    ),
    Known(
        r"the 'loss' key needs to be present",
        "training_step returns a dict without the key 'loss'",
        'Return {"loss": loss, ...}.',
        "",
    ),
    Known(
        r"loop's result collection is not registered yet|You can't `self\.log\(\)` inside `\w+`",
        "self.log is called where Lightning keeps no results: in setup, in predict or in a hook outside the loops",
        "Call self.log in a step or in an epoch hook of fit, validate or test; elsewhere, write to self.logger.",
        f"{_PL}#19516",
    ),
    Known(
        r"You can't `self\.log\([^)]*on_step=True",
        "self.log is called with on_step=True in a hook that runs once per epoch",
        "Remove on_step=True there, or log in the step.",
        "",
    ),
    Known(
        r"self\.log\((?P<key>[^,]+), .*(?:single element|Tensor must have)",
        "self.log({key}) gets a tensor of several values",
        "Log a single number, such as the mean: value.mean().",
        "yangxiaofeng/rectified_flow_prior#5",
    ),
    Known(
        r"`self\.log\((?P<key>[^,]+), .*` was called, but `(?P<type>[^`]+)` values cannot be logged",
        "self.log({key}) gets a {type}, but logs only numbers, tensors of one value and metrics",
        "Log each number under its own name, or use self.log_dict for a dict whose values are numbers.",
        f"{_PL}#19620",
    ),
    Known(
        r"is not attached to a `Trainer`|reference is not registered|self\.trainer. reference",
        "the module uses self.trainer before fit has set it",
        "Move that to setup() or later, not __init__.",
        "drprojects/superpoint_transformer#167",
    ),
    Known(
        r"(?:can't set attribute|has no setter).*hparams|hparams.*(?:no setter|can't set)",
        "hparams is Lightning's own property and can't be assigned",
        "Call self.save_hyperparameters() in __init__ and read self.hparams. If __init__ takes hparams as one "
        "argument, write self.save_hyperparameters(hparams) instead of self.hparams = hparams.",
        "magicleap/Atlas#62",
    ),
    Known(
        r"No supported gpu backend found|Accelerator`? ?can not run on your system",
        "the Trainer asks for an accelerator that this machine, or this build of torch, does not have",
        'Use accelerator="auto", or install a torch built for the device. For an NVIDIA GPU, '
        "torch.cuda.is_available() shows whether torch sees it.",
        "microsoft/mattergen#217",
    ),
    Known(
        r"`mode` can be .*got (?P<mode>\S+)|mode.*auto.*is (?:unknown|not supported)",
        "a callback's mode is neither min nor max",
        'Set mode="min" for a loss, mode="max" for an accuracy.',
        f"{_PL}#4268",
    ),
    Known(
        r"ModelCheckpoint\(save_top_k=(?P<k>\S+), monitor=None\) is not a valid",
        "ModelCheckpoint should keep the best {k}, but has no metric to compare them by",
        'Set monitor="val_loss", or another metric that you log.',
        "",
    ),
    Known(
        r"`val_check_interval` \((?P<every>\d+)\) must be less than or equal to "
        r"the number of the training batches \((?P<batches>\d+)\)",
        "val_check_interval={every} exceeds the {batches} batches of an epoch, so validation would never run",
        "Use a smaller number or a fraction such as 1.0; to count across epochs, set check_val_every_n_epoch=None.",
        "mmcdermott/MEDS_EIC_AR#62",
    ),
    Known(
        r"You have passed invalid value (?P<value>\S+) for (?P<name>\w+), it has to be in",
        "{name}={value} is neither a share of the batches between 0.0 and 1.0 nor a whole number of batches",
        "Write an int for a number of batches, or a float up to 1.0 for a share.",
        "",
    ),
    Known(
        r"'(?P<cls>\w+)' object has no attribute "
        r"'(?:allow_zero_length_dataloader_with_multiple_devices|prepare_data_per_node|_has_setup_\w+|_log_hyperparams)'",
        "the data module {cls} has an __init__ that does not call super().__init__()",
        "Call super().__init__() first in {cls}.__init__.",
        "Lightning-AI/litgpt#1639",
    ),
    Known(
        r"cannot unpack non-iterable Lightning(?P<cls>\w+) object",
        f"training_step unpacks one optimizer ({{cls}}) into several: {_NEAR_MANUAL}",
        "Write opt = self.optimizers(), or return as many optimizers as you unpack.",
        "",
    ),
    Known(
        r"'list' object has no attribute '(?P<name>zero_grad|step)'",
        f"training_step calls {{name}}() on a list of optimizers: {_NEAR_MANUAL}",
        "Write opt_a, opt_b = self.optimizers() and step each.",
        "",
    ),
    Known(
        r"(?:Checkpoint file not found|Checkpoint at) ?:? ?(?P<path>\S+)",
        "the checkpoint that fit should resume from does not exist: {path}",
        "Set ckpt_path to an existing file, or remove it to train from scratch.",
        "GGGHSL/GraphDreamer#6",
    ),
    Known(
        r"You cannot pass `train_dataloader` or `val_dataloaders` to `trainer\.\w+\(datamodule",
        "fit gets both loaders and a data module",
        "Pass only one of them.",
        "open-edge-platform/anomalib#1066",
    ),
    Known(
        r"(?:An invalid dataloader was passed to|Error using) `?Trainer\.fit\(train_dataloaders"
        r"|invalid dataloader was returned",
        "Lightning can't iterate over what should yield the training batches",
        "Pass a DataLoader, or make train_dataloader return one. Pass a data module as datamodule=...; it must "
        "come from the Trainer's package: lightning.pytorch or pytorch_lightning.",
        "learnables/learn2learn#426",
    ),
    Known(
        r"Unknown configuration for model optimizers",
        "configure_optimizers returns something that Lightning can't read",
        'Return an optimizer, or two lists such as [opt], [scheduler], not opt, scheduler; or return {"optimizer": '
        'opt, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}.',
        f"{_PL}#21947",
    ),
    Known(
        r"The lr scheduler dict must have the key \"scheduler\"",
        "configure_optimizers returns an lr_scheduler dict without the scheduler itself",
        'Write {"scheduler": scheduler, "interval": ..., "monitor": ...}.',
        "",
    ),
    Known(
        r"`(?P<hook>train_dataloader|val_dataloader)` must be implemented",
        "there is no {hook}: fit gets no loader, and neither the module nor the data module has one",
        "Pass a DataLoader to fit, or define {hook} in the module or in the data module, and check its spelling. "
        "If the module itself calls self.{hook}(), call self.trainer.datamodule.{hook}() instead.",
        "Zasder3/train-CLIP-FT#11",
    ),
    Known(
        r"No `(?P<hook>training_step|train_dataloader|configure_optimizers)\(?\)?` ",
        "the module has no {hook}, which fit needs",
        "Define {hook}, and check its spelling and indentation.",
        "akshaydudhane16/BIPNet#2",
    ),
]  # fmt: skip

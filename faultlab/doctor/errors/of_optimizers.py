"""Errors of optimizers, schedulers, and modules under construction."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"optimizer got an empty parameter list",
        "the module has no parameters when the optimizer is created: its layers or weights are not stored where "
        "torch finds them",
        "Assign layers to self in __init__ (self.layer = nn.Linear(...)), store several in nn.ModuleList, and "
        "weights in nn.Parameter.",
        "pytorch/examples#277",
    ),
    Known(
        r"can't optimize a non-leaf Tensor",
        "the optimizer gets a tensor that was computed from others, which is not a weight: a product, a slice, or "
        "the result of .to(device)",
        "Wrap the weight in nn.Parameter once, in __init__, after all computing and moving.",
        "pytorch/pytorch#140469",
    ),
    Known(
        r"some parameters appear in more than one parameter group",
        "two parameter groups hold the same weights",
        "Put each weight into one group: leave the head out of the backbone's list.",
        "TreB1eN/InsightFace_Pytorch#169",
    ),
    Known(
        r"optimizer can only optimize Tensors, but one of the params is (?P<what>\S+)",
        "the optimizer gets {what} among its weights",
        "Pass it the joined module.parameters(): [*a.parameters(), *b.parameters()]. A tuple comes from "
        "named_parameters(), a str from a dict of weights: take only the weights from them.",
        "zju-bmi-lab/SpikingNeRF#5",
    ),
    Known(
        r"params argument given to the optimizer should be an iterable of Tensors or dicts, but got",
        "the optimizer gets one tensor or module instead of a list of weights",
        "Pass it self.parameters(), or a single weight in a list: [self.weight].",
        "KaiyangZhou/Dassl.pytorch#67",
    ),
    Known(
        r"Invalid learning rate: (?P<rate>\S+)",
        "the learning rate is {rate}",
        "Set a rate above 0; check what overwrites it (a search, a config file).",
        "pytorch/pytorch#30889",
    ),
    Known(
        r"Tried to step (?P<asked>\d+) times\. The specified number of total steps is (?P<total>\d+)",
        "OneCycleLR was planned for {total} steps and is stepped for the {asked}th time",
        'Set total_steps=self.trainer.estimated_stepping_batches with "interval": "step".',
        "vLAR-group/GrowSP#11",
    ),
    Known(
        r"cannot assign (?:module|parameters?|buffers?)s? before Module\.__init__\(\) call",
        "layers are assigned before super().__init__() was called",
        "Call super().__init__() first in __init__.",
        "Lightning-AI/pytorch-lightning#1738",
    ),
    Known(
        r"'(?P<cls>\w+)' object has no attribute '_(?:parameters|modules|buffers|forward_hooks|backward_hooks)'",
        "{cls}.__init__ does not call super().__init__()",
        "Call super().__init__() first in {cls}.__init__.",
        "lightly-ai/lightly#963",
    ),
    Known(
        r"Module \[(?P<cls>\w+)\] is missing the required \"forward\" function",
        "{cls} is called but has no forward; check its spelling and indentation",
        "Define forward(self, x) in {cls}, at the indentation of its other methods. An nn.ModuleList can't be "
        "called: call its layers one after the other.",
        "zehanwang01/OmniBind#9",
    ),
    Known(
        r"Error\(s\) in loading state_dict for (?P<cls>\w+):.*?size mismatch for (?P<name>\S+): "
        r"copying a param with shape torch\.Size\((?P<there>\[[^\]]*\])\).*?"
        r"shape in current model is torch\.Size\((?P<here>\[[^\]]*\])\)",
        "the checkpoint's {name} has shape {there}, but that of {cls} has {here}: they were built with different "
        "arguments",
        "Build the module with the checkpoint's arguments, such as its number of classes, or remove that layer "
        "from the state dict.",
        "layumi/Person_reID_baseline_pytorch#103",
    ),
    Known(
        r"Error\(s\) in loading state_dict for (?P<cls>\w+)",
        "the checkpoint's names of weights are not those of {cls}",
        "Build the module that was saved, or strip a prefix such as 'model.' or, from nn.DataParallel, 'module.' "
        "from the names. strict=False silently leaves every weight whose name does not match as it was initialized.",
        "aks2203/deep-thinking#5",
    ),
    Known(
        r"Weights only load failed",
        "the checkpoint holds objects other than tensors, which torch loads only from trusted files",
        "If you trust the file, pass weights_only=False: to torch.load, load_from_checkpoint, or fit with ckpt_path.",
        "lincc-frameworks/hyrax#537",
    ),
    Known(
        r"embed_dim must be divisible by num_heads",
        "the width of the attention is not a multiple of its number of heads",
        "Choose embed_dim as a multiple of num_heads: 1024 works with 8 or 16 heads, but not with 12.",
        "open-mmlab/mmaction2#1271",
    ),
    Known(
        r"Torch not compiled with CUDA enabled|Found no NVIDIA driver",
        "the code asks for a GPU (.cuda(), .to('cuda')), but this torch or this machine has none",
        "Leave devices to the Trainer, which moves the module and the batches: remove .cuda() and .to('cuda').",
        "liun-online/HeCo#15",
    ),
    Known(
        r"Expected all tensors to be on the same device",
        "a tensor was created on the CPU inside the step or kept as a plain attribute, while the module is on the GPU",
        "Create it with device=self.device, or register it in __init__: self.register_buffer(name, tensor).",
        "Lung-Yi/rxn_yield_context#3",
    ),
    Known(
        r"out of memory",
        "the device has too little memory for this batch",
        'Use a smaller batch_size with accumulate_grad_batches, or precision="16-mixed"; and keep no graph: use '
        ".detach() or .item() on what you collect.",
        "mkocabas/EpipolarPose#6",
    ),
    Known(
        r"device-side assert triggered",
        "an index or a label is out of range, which the GPU can't report",
        'Run once with accelerator="cpu": the message there names the index. Labels are numbered from 0, and the '
        "last layer needs an output for each class.",
        "Deci-AI/super-gradients#1307",
    ),
]  # fmt: skip

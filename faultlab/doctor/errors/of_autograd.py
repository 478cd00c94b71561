"""Errors of the backward pass."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

_PL = "Lightning-AI/pytorch-lightning"

ERRORS = [
    Known(
        r"does not require grad and does not have a grad_fn",
        "gradients are switched off in validation: the Trainer runs it under torch.inference_mode(), and this step "
        "needs one",
        "Compute it under `with torch.enable_grad():`, and set Trainer(inference_mode=False).",
        f"{_PL}#19910",
        during="validation test on_validation on_test",
    ),
    Known(
        r"does not require grad and does not have a grad_fn",
        "nothing leads from the loss back to a weight",
        "Look for .item(), .detach(), torch.no_grad(), numpy, argmax or torch.tensor(...) between the weights and "
        "the loss, and for a network that is entirely frozen.",
        f"{_PL}#9299",
    ),
    Known(
        r"Inference tensors cannot be saved for backward|Inplace update to inference tensor",
        "a tensor that was created in validation, or elsewhere under torch.inference_mode(), is used in training",
        "Set Trainer(inference_mode=False), or clone the tensor: tensor.clone(). In your own code, use "
        "torch.no_grad() instead of torch.inference_mode().",
        "facebookresearch/dinov2#472",
    ),
    Known(
        r"Trying to backward through the graph a second time",
        "the loss depends on the graph of an earlier step or batch, which its backward has freed: a tensor that "
        "was kept (a hidden state, a running loss), or a second backward of the same loss",
        "Detach what you keep from one step to the next: self.hidden = hidden.detach(), for each part of a tuple; "
        "add up loss.item(), not the loss. Do not call backward() in training_step, because the Trainer does, unless "
        "self.automatic_optimization is False.",
        "sgadgil6/cnslab_fmri#4",
    ),
    Known(
        r"modified by an inplace operation",
        "a tensor that the backward pass needs was changed in place: x += ..., x[...] = ..., relu(inplace=True), "
        "or an optimizer's step between two forward passes and their backward passes",
        "Write x = x + ...; in a GAN, compute each network's forward pass after the other's step.",
        "Jee-King/TSAN#3",
    ),
    Known(
        r"a leaf Variable that requires grad is being used in an in-place operation",
        "a weight is changed in place while gradients are enabled",
        "Change it under `with torch.no_grad():`.",
        "pytorch/examples#779",
    ),
    Known(
        r"grad can be implicitly created only for scalar outputs",
        "the loss has one value per sample (reduction='none') or per GPU (nn.DataParallel), but backward needs a "
        "single number",
        "Return loss.mean().",
        "Animadversio/GAN-Geometry#4",
    ),
    Known(
        r"Can't call numpy\(\) on Tensor that requires grad",
        "a tensor with a graph is converted to a numpy array",
        "Write tensor.detach().cpu().numpy() for values that you only inspect; stay in torch for values that the "
        "loss is computed from.",
        "zhuangdizhu/FedGen#1",
    ),
    Known(
        r"[Oo]nly Tensors of floating point (?:and complex )?dtype can require gradients",
        "gradients are requested for integers, such as torch.tensor([1]) or the output of argmax",
        "Request them for float tensors, such as torch.tensor([1.0]); argmax has no gradient: use the logits.",
        "pytorch/pytorch#95110",
    ),
    Known(
        r"Function '(?P<name>\w+)' returned nan values in its",
        "the backward of {name} gives NaN",
        "Check its input for a log or root of 0, or a division by 0; add an epsilon, or clamp it.",
        "karenyang/GCN-VAE#1",
    ),
    Known(
        r"differentiated Tensors?(?: at index \d+)? appears to not have been used in the graph",
        "torch.autograd.grad is called for a tensor that the output was not computed from, such as a weight that "
        "forward does not use",
        "Compute the output from that very tensor, after requires_grad_(True), or set allow_unused=True.",
        "ShiYunyi/Meta-Weight-Net_Code-Optimization#5",
    ),
]  # fmt: skip

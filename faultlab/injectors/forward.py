"""forward: failure modes of what the model's `forward` returns."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import HeadInput, ModuleOutput
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._floating import map_floating


@failure_mode(
    "forward.raises",
    seam=ModuleOutput,
    severity="minor",
    effect="raises",
    cause=("forward raised", "forward failed", "in forward"),
    when="middle",
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: exception)",),
)
def raise_in_forward(output: Any, ctx: Context) -> Any:
    """`forward` raises an exception at one batch.

    Effect: the exception propagates out of `fit` unchanged.
    Why it goes undetected: it goes undetected only if the step is wrapped in a bare `except`.
    Example:
        return self.head(hidden.view(32, -1))   # the last batch of the epoch is smaller
    Remedy: test `forward` with a batch of one sample and with the remainder of an epoch.
    """
    raise ctx.intended(RuntimeError("injected by forward.raises: this batch cannot be computed"))


@failure_mode(
    "forward.none",
    seam=ModuleOutput,
    severity="minor",
    effect="raises",
    cause=("none", "forward", "return"),
    stages="every",
    evidence=("pytorch/pytorch#12436",),
)
def forget_return_in_forward(output: Any, ctx: Context) -> Any:
    """`forward` forgets its `return`.

    Effect: the first code that uses the output raises a `TypeError` or `AttributeError` about None, in the sanity check
    already.
    Why it goes undetected: it does not go undetected.
    Example:
        def forward(self, x):
            x = self.head(self.features(x))     # `return x` is missing
    Remedy: annotate the return type of `forward`, and let a type checker find the missing return.
    """
    return None


@failure_mode(
    "forward.tuple",
    seam=ModuleOutput,
    severity="minor",
    effect="raises",
    cause=("tuple", "auxiliary"),
    evidence=("pytorch/vision#302",),
)
def return_auxiliary(output: Any, ctx: Context) -> Any:
    """In training mode, `forward` returns a second, auxiliary output beside the first.

    Effect: the first use raises a `TypeError` or `AttributeError` about a tuple, at the first training batch and not in
    the sanity check, which runs in eval mode.
    Why it goes undetected: tests in eval mode pass. A step that takes `output[0]` for the first sample continues
    without an error.
    Example:
        model = torchvision.models.inception_v3()       # (logits, aux_logits) in training mode, logits in eval mode
    Remedy: test the step in training mode; unpack the output in one place.
    """
    return (output, output)


@failure_mode(
    "forward.nan",
    seam=ModuleOutput,
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=(
        "LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, set_value nan, output)",
        "motional/nuplan-devkit#91",
    ),
)
def nan_output(output: Any, ctx: Context) -> Any:
    """`forward` returns NaN for one batch.

    Effect: the loss is NaN, backward fills every gradient with NaN, and after this step every parameter is NaN too. The
    run continues to its end. No error or warning is raised.
    Why it goes undetected: the log shows NaN, but nothing stops for it, and `argmax` of NaN is a class like any other,
    so accuracy is a number.
    Example: an overflow in half precision, a division by a standard deviation of 0, a log of 0.
    Remedy: stop at a non-finite loss, and skip the optimizer step if a gradient is not finite. With Lightning, use
    `EarlyStopping(check_finite=True)` on the training loss, or `detect_anomaly=True`.
    """
    return map_floating(output, lambda tensor: tensor * torch.nan)


@failure_mode(
    "forward.constant",
    seam=ModuleOutput,
    severity="critical",
    effect="silent",
    cause=("constant", "same output", "variance", "collapse"),
    stages="every",
    evidence=("arXiv:2204.00694 (TheDeepChecker: out_cons)",),
)
def constant_output(output: Any, ctx: Context) -> Any:
    """`forward` returns zeros for every sample.

    Effect: every gradient is zero, so nothing is learned; only weight decay still changes the weights.
    Why it goes undetected: the loss is finite and constant, as on a plateau, and accuracy is that of always predicting
    one class.
    Example:
        return self.head(self.relu(self.features(x))) * self.gate       # a gate that starts at 0 and gets no gradient
    Remedy: check that outputs differ from sample to sample, and that a single batch can be overfitted.
    """
    return map_floating(output, lambda tensor: tensor * 0)


@failure_mode(
    "forward.no-grad",
    seam=ModuleOutput,
    severity="major",
    effect="raises",
    cause=("no grad", "require grad", "requires_grad", "detach"),
    evidence=("Lightning-AI/pytorch-lightning#19517", "Lightning-AI/pytorch-lightning#18222"),
)
def forward_without_grad(output: Any, ctx: Context) -> Any:
    """`forward` runs under `torch.no_grad()`.

    Effect: backward raises a `RuntimeError`: element 0 of tensors does not require grad. If another network with
    parameters follows before the loss, as a discriminator follows a generator, backward succeeds, and only the
    generator never learns, without an error or warning.
    Why it goes undetected: any other term of the loss that has a graph hides it.
    Example:
        @torch.no_grad()                        # copied together with the inference code
        def forward(self, x):
    Remedy: assert that every trainable parameter has a gradient after the first backward.
    """
    return tree.map_tensors(output, lambda tensor: tensor.detach())


@failure_mode(
    "forward.detached-midway",
    seam=HeadInput,
    severity="critical",
    effect="silent",
    cause=("no grad", "detach", "frozen", "did not change"),
    needs=("several-layers",),
    evidence=("lucidrains/CoCa-pytorch#6",),
)
def detach_midway(value: Any, ctx: Context) -> Any:
    """The features are detached within `forward`, so only the last layer learns.

    Effect: backward succeeds, but the parameters before the last layer get no gradient and keep their initial values.
    No error or warning is raised.
    Why it goes undetected: the loss falls, because a linear layer on random features learns a good deal.
    Example:
        features = self.backbone(x).detach()    # for the plot, but used below
        return self.head(features)
    Remedy: assert that every trainable parameter has a gradient after the first backward.
    """
    return tree.map_tensors(value, lambda tensor: tensor.detach())


@failure_mode(
    "forward.mixes-samples",
    seam=ModuleOutput,
    severity="critical",
    effect="silent",
    cause=("mix", "other sample", "across samples", "independen", "leak"),
    stages="every",
    doses=(Dose("share", 0.5, 0.0, 1.0, "share of a sample's output that comes from its neighbor"),),
    needs=("several-samples",),
    evidence=("IBM/TabFormer#14", "arXiv:2204.00694 (TheDeepChecker: op_dep)"),
)
def mix_samples(output: Any, ctx: Context) -> Any:
    """A sample's output depends on the other samples of its batch.

    Effect: each output is a mixture with its neighbor's, and the model trains on it as well as it can. No error or
    warning is raised.
    Why it goes undetected: shapes are right and the loss falls, but what is learned depends on which samples share a
    batch, and predictions change with the batch size.
    Example:
        self.encoder = nn.TransformerEncoder(layer, 2)      # batch_first=False, given (batch, time, features)
    Remedy: write a test that changes one sample and asserts that only its own output changes.
    """
    share = ctx.dose.share

    def mixed(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.dim() == 0 else (1 - share) * tensor + share * tensor.roll(1, 0)

    return map_floating(output, mixed)


@failure_mode(
    "forward.permutes-samples",
    seam=ModuleOutput,
    severity="critical",
    effect="silent",
    cause=("permut", "reorder", "shuffl", "sample order", "align"),
    stages="every",
    needs=("several-samples", "labels"),
    evidence=(
        "atong01/conditional-flow-matching#172",
        "LMResiliency/lm-resiliency (docs/fault_injection.md: reorder, output)",
    ),
)
def permute_samples(output: Any, ctx: Context) -> Any:
    """`forward` returns its outputs in a different order from its inputs.

    Effect: each sample is compared with the label of another one, so the model learns only the frequencies of the
    labels.
    Why it goes undetected: shapes and values are right, the loss falls a little, and validation is as wrong as
    training.
    Example:
        order = lengths.argsort(descending=True)
        return self.rnn(x[order])[0]            # and never back in the batch's order
    Remedy: write a test that compares the outputs of a batch with those of its samples one by one.
    """
    orders: dict[int, torch.Tensor] = {}

    def permuted(tensor: torch.Tensor) -> torch.Tensor:
        n = len(tensor) if tensor.dim() else 0
        order = orders.setdefault(n, torch.randperm(n, generator=ctx.generator))
        return tensor[order.to(tensor.device)] if n > 1 else tensor

    return tree.map_tensors(output, permuted)


@failure_mode(
    "forward.noise",
    seam=ModuleOutput,
    severity="major",
    effect="silent",
    cause=("nois", "determin", "random"),
    stages="every",
    doses=(Dose("scale", 1.0, 0.0, 1e6, "standard deviation of the noise, in mean magnitudes of the output"),),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, noise, output)",),
)
def noisy_output(output: Any, ctx: Context) -> Any:
    """The output of `forward` contains noise.

    Effect: training continues with noisier gradients, and validation evaluates noisy outputs. No error or warning is
    raised.
    Why it goes undetected: the loss is slightly higher than it could be, but how low it could be is unknown.
    Example:
        logits = logits + self.sigma * torch.randn_like(logits)     # exploration that evaluation never disables
    Remedy: test that two passes over the same batch in eval mode agree.
    """

    def noisy(tensor: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(tensor.shape, generator=ctx.generator).to(tensor)
        return tensor + noise.mul(ctx.dose.scale * tensor.detach().abs().mean())

    return map_floating(output, noisy)


@failure_mode(
    "forward.half-precision-output",
    seam=ModuleOutput,
    severity="major",
    effect="silent",
    cause=("half", "float16", "precision", "dtype"),
    stages="every",
    evidence=("jingyuanli001/RFR-Inpainting#8",),
)
def halve_precision(output: Any, ctx: Context) -> Any:
    """`forward` returns half precision, or bfloat16 if its output is half precision already.

    Effect: cross-entropy computes in half precision, and mean squared error promotes it; training continues with errors
    in the fourth digit. No error or warning is raised. If another layer takes the output, as a discriminator takes a
    generator's, that layer raises immediately because Half and Float cannot be mixed.
    Why it goes undetected: the results agree to three digits, until a value exceeds 65504 and becomes infinite, or a
    small gradient is rounded to zero.
    Example:
        return self.head(x).half()              # saves memory at inference
    Remedy: assert the output's dtype; cast to float before the loss.
    """
    return map_floating(output, lambda tensor: tensor.to(torch.bfloat16 if tensor.dtype == torch.half else torch.half))


@failure_mode(
    "forward.cached",
    seam=ModuleOutput,
    severity="critical",
    effect="raises",
    cause=("cache", "stale", "freed", "second time", "same output"),
    needs=("several-steps",),
    evidence=(
        "pytorch/pytorch#71062",
        "LMResiliency/lm-resiliency (docs/fault_injection.md: stale_state, output)",
    ),
)
def cache_output(output: Any, ctx: Context) -> Any:
    """`forward` always returns the output of the first batch, because a cache is never cleared.

    Effect: backward raises at the second batch: the graph has already been freed.
    Why it goes undetected: with a cache of detached outputs, or with `retain_graph=True`, training compares the first
    batch's outputs with every batch's labels.
    Example:
        if self._features is None:
            self._features = self.backbone(x)
        return self.head(self._features)
    Remedy: keep no tensor with a graph on `self` between steps; test that two different batches give different outputs.
    """
    return ctx.memory.setdefault("output", output)

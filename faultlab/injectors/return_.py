"""return: failure modes of the return value of `training_step`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from faultlab.catalogue.injection_points import StepOutput
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


def _loss(output: Any) -> Any:
    return output.get("loss") if isinstance(output, Mapping) else output


def _with_loss(output: Any, loss: Any) -> Any:
    return {**output, "loss": loss} if isinstance(output, Mapping) else loss


@failure_mode(
    "return.none",
    seam=StepOutput,
    severity="critical",
    effect={"lightning": "warns", "torch": "raises"},
    cause=("none", "return", "loss"),
    needs=("loss-returned",),
    evidence=("graviraja/MLOps-Basics#14", "Lightning-AI/pytorch-lightning#3566"),
)
def forget_return(output: Any, ctx: Context) -> Any:
    """`training_step` forgets its `return`.

    Effect: Lightning skips backward for every batch and warns once per process. The optimizer steps without gradients,
    `global_step` increases, and no parameter moves.
    Why it goes undetected: the progress bar moves, epochs end, checkpoints are written, and the only warning scrolls
    out of view before the first epoch is over.
    Example:
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("train_loss", loss)    # `return loss` is missing
    Remedy: assert that parameters changed after the first step; with Lightning, turn the warning "`training_step`
    returned `None`" into an error.
    """
    return None


@failure_mode(
    "return.dict-without-loss",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("loss",),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#7750", "Lightning-AI/pytorch-lightning#3041"),
)
def misname_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns a dict that holds the loss under another key.

    Effect: Lightning raises a `MisconfigurationException` at the first batch: the 'loss' key needs to be present.
    Why it goes undetected: it does not go undetected under automatic optimization; under manual optimization any dict
    is accepted.
    Example:
        return {"train_loss": loss}         # instead of {"loss": loss}
    Remedy: keep the key `loss`; run one batch in a test.
    """
    return {"train_loss": _loss(output)}


@failure_mode(
    "return.dict-loss-none",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("loss", "none"),
    needs=("loss-returned", "automatic-optimization"),
    no_evidence="a variant of a forgotten return: a dict that is always built, around a loss that a branch left None",
)
def none_under_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns `{"loss": None}`.

    Effect: Lightning raises the same `MisconfigurationException` as for a missing key, which blames a key that is
    present.
    Why it goes undetected: it does not go undetected, but it occurs only when the branch that leaves the loss None is
    taken.
    Example:
        loss = None
        if mask.any():
            loss = self.loss(batch)
        return {"loss": loss}
    Remedy: give every branch a loss, and test the branch that has nothing to learn from.
    """
    return {"loss": None}


@failure_mode(
    "return.float",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("tensor", "type", "float"),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#9299", "openvpi/DiffSinger#197"),
)
def return_float(output: Any, ctx: Context) -> Any:
    """`training_step` returns the loss as a Python float.

    Effect: Lightning raises a `MisconfigurationException` that names the accepted types.
    Why it goes undetected: it does not go undetected, but a float inside a sum of losses only removes its term from the
    graph.
    Example:
        return loss.item()
    Remedy: return the tensor; call `.item()` only where a number is logged.
    """
    return float(_loss(output).detach().mean())


@failure_mode(
    "return.tuple",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("tensor", "tuple", "type"),
    needs=("loss-returned",),
    no_evidence="the form that Keras-like and hand-written loops use; the Trainer names the accepted types one by one",
)
def return_tuple(output: Any, ctx: Context) -> Any:
    """`training_step` returns a tuple of loss and metrics.

    Effect: Lightning raises a `MisconfigurationException` that names the accepted types.
    Why it goes undetected: it goes undetected only if the module's step is tested by calling it directly.
    Example:
        return loss, accuracy
    Remedy: return a dict with the key `loss`, or log the metrics.
    """
    return (_loss(output), 0.0)


@failure_mode(
    "return.string",
    seam=StepOutput,
    severity="minor",
    effect="raises",
    cause=("tensor", "str", "type"),
    needs=("loss-returned",),
    no_evidence="a probe for a value of an unrelated type: code that accepts it checks nothing",
)
def return_string(output: Any, ctx: Context) -> Any:
    """`training_step` returns a string.

    Effect: Lightning raises a `MisconfigurationException` that names the accepted types.
    Why it goes undetected: it does not go undetected; a guard that accepts it checks no types at all.
    Example:
        return f"loss={loss:.3f}"
    Remedy: return the tensor and log the text.
    """
    return "loss"


@failure_mode(
    "return.integer-tensor",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("grad", "floating", "integer", "dtype"),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("pytorch/pytorch#91431", "PKU-EPIC/UniDexGrasp#28"),
)
def return_integer(output: Any, ctx: Context) -> Any:
    """`training_step` returns an integer tensor, because a cast dropped the graph.

    Effect: backward raises a `RuntimeError`: element 0 of tensors does not require grad.
    Why it goes undetected: the cast itself raises no error or warning; only backward does.
    Example:
        return loss.long()
    Remedy: assert `loss.requires_grad` where the loss is computed.
    """
    return _with_loss(output, _loss(output).detach().nan_to_num().long())


@failure_mode(
    "return.detached",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("grad", "detach"),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#7405",),
)
def detach_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns a detached loss.

    Effect: backward raises a `RuntimeError`: element 0 of tensors does not require grad.
    Why it goes undetected: it goes undetected only if another part of the loss still has a graph, or if the module
    calls backward itself under manual optimization and returns the detached loss, which is correct.
    Example:
        loss = self.loss(batch).detach()    # for the log, but also returned
        return loss
    Remedy: detach only the copy that is logged; with Lightning, `self.log` does that itself.
    """
    return _with_loss(output, _loss(output).detach())


@failure_mode(
    "return.vector",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("scalar", "shape", "reduc"),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("mindee/doctr#379", "arXiv:1910.11015 (taxonomy of real faults: wrong loss function calculation)"),
)
def unreduced_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns one loss per sample.

    Effect: backward raises a `RuntimeError`: grad can be implicitly created only for scalar outputs.
    Why it goes undetected: a batch of one sample has a loss of one element, which backward accepts as a scalar.
    Example:
        return F.cross_entropy(logits, y, reduction="none")
    Remedy: reduce with `.mean()`; assert `loss.ndim == 0`.
    """
    return _with_loss(output, torch.stack([_loss(output).reshape(())] * 2))


@failure_mode(
    "return.constant-leaf",
    seam=StepOutput,
    severity="critical",
    effect="silent",
    cause=("parameter", "grad", "constant", "chang", "mov"),
    needs=("loss-returned", "automatic-optimization"),
    evidence=("Lightning-AI/pytorch-lightning#12190",),
)
def constant_leaf(output: Any, ctx: Context) -> Any:
    """`training_step` returns a new tensor that requires grad but depends on no parameter.

    Effect: backward succeeds, the optimizer steps, and no parameter ever gets a gradient.
    Why it goes undetected: the value is finite, requires grad, and is a tensor of the right shape, so every check of
    the loss alone passes. With several processes it may hang instead.
    Example:
        return torch.tensor(0.0, requires_grad=True)    # "nothing to learn from this batch"
    Remedy: assert that parameters move; skip such a batch with a loss of zero that depends on the output: `0 *
    y.sum()`.
    """
    return _with_loss(output, torch.ones_like(_loss(output), requires_grad=True))


@failure_mode(
    "return.infinite-no-grad",
    seam=StepOutput,
    severity="major",
    effect="raises",
    cause=("inf", "finite", "grad"),
    needs=("loss-returned", "automatic-optimization"),
    no_evidence="the placeholder that a handler of a failed step returns; forums recommend infinity for it",
)
def infinite_without_graph(output: Any, ctx: Context) -> Any:
    """After a failed step, `training_step` returns `torch.tensor(inf)` instead of the loss.

    Effect: backward raises a `RuntimeError`: element 0 of tensors does not require grad. The belief that the batch is
    merely skipped is wrong.
    Why it goes undetected: it goes undetected only if the handler also catches the exception from backward.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"))
    Remedy: let the exception propagate; to skip a batch, return None explicitly and count how often.
    """
    return _with_loss(output, torch.full_like(_loss(output).detach(), torch.inf))


@failure_mode(
    "return.infinite-leaf",
    seam=StepOutput,
    severity="critical",
    effect="silent",
    cause=("inf", "finite"),
    needs=("loss-returned", "automatic-optimization"),
    no_evidence="the same placeholder, 'repaired' with requires_grad=True so that backward no longer complains",
)
def infinite_leaf(output: Any, ctx: Context) -> Any:
    """After a failed step, `training_step` returns an infinite tensor that requires grad instead of the loss.

    Effect: backward succeeds on an empty graph, and the step is lost. No error or warning is raised.
    Why it goes undetected: no parameter takes part, so no parameter becomes infinite; only the logged loss would show
    it, and that was logged before.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"), requires_grad=True)
    Remedy: check that the loss that the training step returns is finite, not only the values that it logs.
    """
    return _with_loss(output, torch.full_like(_loss(output).detach(), torch.inf).requires_grad_())


@failure_mode(
    "return.stale",
    seam=StepOutput,
    severity="critical",
    effect="raises",
    cause=("graph", "backward", "freed", "stale", "same"),
    needs=("loss-returned", "automatic-optimization", "several-steps"),
    no_evidence="the effect of a loss cached on self; its counterpart for outputs is forward.cached",
)
def previous_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns the loss of the previous step.

    Effect: backward raises a `RuntimeError` at the second batch: the graph has already been freed.
    Why it goes undetected: with `retain_graph=True`, the usual advice for that message, it trains on old batches.
    Example:
        if self.loss is None:
            self.loss = self.compute(batch)     # never cleared
        return self.loss
    Remedy: keep no tensor with a graph on `self` between steps.
    """
    previous = ctx.memory.get("output", output)
    ctx.memory["output"] = output
    return previous

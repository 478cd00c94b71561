"""return: what `training_step` gives back."""

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
    effect="warns",
    cause=("none", "return", "loss"),
    needs=("loss-returned",),
    evidence=("graviraja/MLOps-Basics#14", "Lightning-AI/pytorch-lightning#3566"),
)
def forget_return(output: Any, ctx: Context) -> Any:
    """`training_step` forgets its `return`.

    Effect: Lightning skips backward for every batch and says so in one warning a process. The optimizer steps on no
    gradient, `global_step` counts up, and no parameter moves.
    Why it goes undetected: the progress bar moves, epochs end, checkpoints are written, and the only warning scrolls by
    before the first epoch is over.
    Example:
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("train_loss", loss)    # and no `return loss`
    Remedy: assert that parameters changed after the first step, or turn the warning "`training_step` returned `None`"
    into an error.
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
    """`training_step` returns a dict whose loss has another key.

    Effect: Lightning raises a MisconfigurationException at the first batch: the 'loss' key needs to be present.
    Why it goes undetected: under automatic optimisation it does not; under manual optimisation any dict is accepted.
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
    no_evidence="the sibling of a forgotten return: a dict that is always built, around a loss that a branch left None",
)
def none_under_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns `{"loss": None}`.

    Effect: Lightning raises the same MisconfigurationException as for a missing key, which points the reader at a key
    that is there.
    Why it goes undetected: it does not; but it shows only once the branch that leaves the loss None is taken.
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

    Effect: Lightning raises a MisconfigurationException that names the types it accepts.
    Why it goes undetected: it does not; a float inside a sum of losses, though, only takes its part out of the graph.
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
    no_evidence="the form that Keras-like and hand-written loops use; Lightning names the accepted types one by one",
)
def return_tuple(output: Any, ctx: Context) -> Any:
    """`training_step` returns a tuple of loss and metrics.

    Effect: Lightning raises a MisconfigurationException that names the types it accepts.
    Why it goes undetected: it does not, unless the module's step is only tested by calling it.
    Example:
        return loss, accuracy
    Remedy: return a dict with the key `loss`, or log the rest.
    """
    return (_loss(output), 0.0)


@failure_mode(
    "return.string",
    seam=StepOutput,
    severity="minor",
    effect="raises",
    cause=("tensor", "str", "type"),
    needs=("loss-returned",),
    no_evidence="the probe for a value of a wholly foreign type: whatever accepts it checks nothing",
)
def return_string(output: Any, ctx: Context) -> Any:
    """`training_step` returns text.

    Effect: Lightning raises a MisconfigurationException that names the types it accepts.
    Why it goes undetected: it does not; a guard that lets it pass looks at no type at all.
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
    """`training_step` returns an integer tensor: a cast dropped the graph.

    Effect: backward raises: element 0 of tensors does not require grad.
    Why it goes undetected: the cast itself raises nothing and warns nobody; only backward does.
    Example:
        return loss.long()
    Remedy: assert `loss.requires_grad` where the loss is made.
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
    """`training_step` returns a loss that was detached.

    Effect: backward raises: element 0 of tensors does not require grad.
    Why it goes undetected: it does not, unless another part of the loss still has a graph, or the user calls backward
    under manual optimisation and returns the detached loss, which is right.
    Example:
        loss = self.loss(batch).detach()    # to log it, and then returned
        return loss
    Remedy: detach the copy that is logged; `self.log` does so itself.
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
    """`training_step` returns one loss a sample.

    Effect: backward raises: grad can be implicitly created only for scalar outputs.
    Why it goes undetected: a batch of one sample has a loss of one element, which is a scalar to backward.
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
    """`training_step` returns a fresh tensor that requires grad and depends on no parameter.

    Effect: backward succeeds, the optimizer steps, and no parameter ever gets a gradient.
    Why it goes undetected: the value is finite, requires grad, and is a tensor of the right shape: every check of the
    loss alone passes. On several processes it may hang instead.
    Example:
        return torch.tensor(0.0, requires_grad=True)    # "nothing to learn from this batch"
    Remedy: assert that parameters move; skip such a batch by a loss of zero that hangs on the output: `0 * y.sum()`.
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
    """After a failed step, `torch.tensor(inf)` is returned in the loss's stead.

    Effect: backward raises: element 0 of tensors does not require grad. The belief that the batch is merely skipped is
    wrong.
    Why it goes undetected: it does not, unless the handler also catches what backward raises.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"))
    Remedy: let the exception out; to skip a batch return None on purpose and count how often.
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
    """After a failed step, an infinite tensor that requires grad is returned in the loss's stead.

    Effect: backward succeeds on a graph of nothing; the step is lost without a word.
    Why it goes undetected: no parameter takes part, so no parameter turns infinite; only the logged loss would show it,
    and that was logged before.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"), requires_grad=True)
    Remedy: check that what `training_step` returns is finite, not only what it logs.
    """
    return _with_loss(output, torch.full_like(_loss(output).detach(), torch.inf).requires_grad_())


@failure_mode(
    "return.stale",
    seam=StepOutput,
    severity="critical",
    effect="raises",
    cause=("graph", "backward", "freed", "stale", "same"),
    needs=("loss-returned", "automatic-optimization", "several-steps"),
    no_evidence="what is left of a loss cached on self; its twin on the output side is forward.cached",
)
def previous_loss(output: Any, ctx: Context) -> Any:
    """`training_step` returns the loss of the step before.

    Effect: backward raises at the second batch: the graph has been freed already.
    Why it goes undetected: with `retain_graph=True`, the usual advice for that message, it trains on old batches.
    Example:
        if self.loss is None:
            self.loss = self.compute(batch)     # never cleared
        return self.loss
    Remedy: keep no tensor with a graph on self between steps.
    """
    previous = ctx.memory.get("output", output)
    ctx.memory["output"] = output
    return previous

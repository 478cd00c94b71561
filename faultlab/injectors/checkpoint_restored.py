"""checkpoint: failure modes of parts of a training that a checkpoint does not bring back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from faultlab.catalogue.injection_points import Checkpoint
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Restored


@failure_mode(
    "checkpoint.reinitialised-after-load",
    seam=Checkpoint("weights"),
    severity="critical",
    effect="silent",
    cause=("initiali", "random", "not loaded", "weights", "resum", "jump", "spike"),
    stages="every",
    evidence=("huggingface/transformers#46620", "huggingface/picotron#32"),
    judged_by="reload",
)
def initialise_after_loading(restored: Restored, ctx: Context) -> Restored:
    """The weights are loaded and then initialized again.

    Effect: the module that is evaluated or trained further has random weights, with the optimizer state, the buffers
    and the epoch of the checkpoint. No error or warning is raised: every key was found.
    Why it goes undetected: the log of loading is perfect, and a loss that is high after a resume falls again.
    Example:
        model.load_state_dict(torch.load(path))
        model.apply(init_weights)               # once more, for the new head
    Remedy: evaluate the loaded model and compare with the logged metrics; compare weights with those of the file.
    """
    trainable = {name for name, _ in layers.trainable(ctx.module)}
    drawn = {
        name: layers.drawn(name, value, ctx.generator) if name in trainable else value
        for name, value in restored.state.items()
    }
    return replace(restored, state=drawn)


@failure_mode(
    "checkpoint.buffers-missing",
    seam=Checkpoint("weights"),
    severity="critical",
    effect="silent",
    cause=("buffer", "running", "statistic", "key", "strict", "missing", "batchnorm", "normali"),
    stages="every",
    needs=("floating-buffers",),
    evidence=("torch/nn#1165", "cleinc/bts#90"),
    judged_by="reload",
)
def load_no_buffers(restored: Restored, ctx: Context) -> Restored:
    """The checkpoint has no buffers, such as the running statistics of batch normalization.

    Effect: parameters are loaded and buffers keep their initial values, so that batch normalization evaluates with a
    mean of 0 and a variance of 1. No error or warning is raised, because loading is not strict.
    Why it goes undetected: in training mode the batch's own statistics are used, so the loss continues as before.
    Example:
        torch.save(dict(model.named_parameters()), path)        # state_dict() has the buffers, too
    Remedy: evaluate the loaded model and compare with the logged metrics; load strictly.
    """
    buffers = {name for name, _ in ctx.module.named_buffers()}
    return Restored({name: value for name, value in restored.state.items() if name not in buffers}, strict=False)


@failure_mode(
    "checkpoint.head-missing",
    seam=Checkpoint("weights"),
    severity="critical",
    effect="silent",
    cause=("head", "layer", "tied", "tying", "key", "strict", "missing", "not loaded", "initiali", "random"),
    stages="every",
    needs=("several-layers",),
    evidence=("NVIDIA-NeMo/Automodel#2511", "NVIDIA-NeMo/Automodel#2941"),
    judged_by="reload",
)
def load_no_head(restored: Restored, ctx: Context) -> Restored:
    """The checkpoint lacks the weights of the last layer, which keeps its initial values when it is loaded.

    Effect: the module that is evaluated or trained further has a random head, or the one that was tied to another layer
    again, on features that are right. No error or warning is raised, because loading is not strict.
    Why it goes undetected: a head is left out on purpose where it is tied to the embedding or made for another task,
    and the loss, high after the resume, falls fast.
    Example:
        if config.tie_word_embeddings:          # whether or not both are one tensor
            del state["lm_head.weight"]
    Remedy: read the return value of `load_state_dict`; evaluate the loaded model and compare with the logged metrics.
    """
    layer = layers.trainable(ctx.module)[-1][0].rpartition(".")[0]
    own = ctx.module.get_submodule(layer) if layer else ctx.module
    head = {f"{layer}.{name}" if layer else name for name, _ in own.named_parameters(recurse=False)}
    return Restored({name: value for name, value in restored.state.items() if name not in head}, strict=False)


@failure_mode(
    "checkpoint.scheduler-emptied",
    seam=Checkpoint("state"),
    severity="major",
    effect="silent",
    cause=("scheduler", "learning rate", "learning_rate", "resum", "warm"),
    stages="every",
    needs=("saved-scheduler",),
    evidence=("lightly-ai/lightly-train#301", "alibaba/TorchEasyRec#664"),
    judged_by="reload",
)
def empty_schedulers(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The checkpoints contain no state of the schedulers.

    Effect: a resumed training starts its schedule from the beginning: it warms up again, or decays later than it
    should. No error or warning is raised.
    Why it goes undetected: weights and optimizer are restored correctly, and so is the learning rate, until the
    scheduler changes it.
    Example:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    Remedy: in a test, train two epochs in one run and in two halves with a resume between them, and compare the
    weights.
    """
    return {**checkpoint, "lr_schedulers": []}

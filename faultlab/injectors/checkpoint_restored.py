"""checkpoint: failure modes of parts of a training that a checkpoint does not bring back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from faultlab.catalogue.failure_mode import Dose
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
    "checkpoint.layer-missing",
    seam=Checkpoint("weights"),
    severity="critical",
    effect="silent",
    cause=("key", "strict", "missing", "not saved", "embedding", "loaded"),
    stages="every",
    needs=("several-layers",),
    evidence=("artidoro/qlora#214",),
    judged_by="reload",
)
def load_all_but_one(restored: Restored, ctx: Context) -> Restored:
    """The checkpoint lacks one of the layers that were trained, the module's first.

    Effect: the layer keeps the values that it had before training, while all others expect the trained ones. No error
    or warning is raised, because loading is not strict, as it can't be if a checkpoint holds only what was trained.
    Why it goes undetected: the run that saves has all weights in memory, and so have its metrics.
    Example:
        model.resize_token_embeddings(len(tokenizer))       # the new embedding is trained
        torch.save({k: v for k, v in model.state_dict().items() if "lora" in k}, path)
    Remedy: check that every parameter that requires grad is in the file; evaluate the loaded model and compare with
    the logged metrics.
    """
    first = layers.trainable(ctx.module)[0][0].rpartition(".")[0]
    gone = {id(one) for name, one in layers.trainable(ctx.module) if name.rpartition(".")[0] == first}
    # A layer that shares the weight would restore it.
    names = {name for name, one in ctx.module.named_parameters(remove_duplicate=False) if id(one) in gone}
    return Restored({name: value for name, value in restored.state.items() if name not in names}, strict=False)


@failure_mode(
    "checkpoint.adapter-unscaled",
    seam=Checkpoint("weights"),
    severity="major",
    effect="silent",
    cause=("adapter", "lora", "merg", "bias", "scal"),
    stages="every",
    doses=(Dose("scale", 4.0, 1e-6, 1e6, "factor of the adapter's output that its bias lacks", harmless=1.0),),
    needs=("biased-adapter",),
    evidence=("huggingface/peft#2489", "huggingface/peft#3741"),
    judged_by="reload",
)
def load_unscaled_bias(restored: Restored, ctx: Context) -> Restored:
    """The biases of low-rank adapters lack the factor that scales the adapters' outputs, as after a wrong merge.

    Effect: the loaded model adds another constant to each adapted layer than the trained one did. No error or warning
    is raised.
    Why it goes undetected: the run that trains does not merge, and its metrics are right. With a scale of 1, as by
    default in PEFT, so is the merged model.
    Example:
        merged.weight = base.weight + scale * up.weight @ down.weight
        merged.bias = base.bias + up.bias       # scale * up.bias
    Remedy: test that a merged model gives the outputs of the unmerged one, with a scale other than 1 and trained
    biases.
    """
    biases = {id(layer.bias) for layer in layers.adapters(ctx.module)}
    names = {name for name, one in ctx.module.named_parameters(remove_duplicate=False) if id(one) in biases}
    changed = {name: value / ctx.dose.scale for name, value in restored.state.items() if name in names}
    return replace(restored, state={**restored.state, **changed})


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

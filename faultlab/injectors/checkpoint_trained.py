"""checkpoint: failure modes of weights that were trained and are not loaded as they were."""

from __future__ import annotations

from dataclasses import replace

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Checkpoint
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Restored


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

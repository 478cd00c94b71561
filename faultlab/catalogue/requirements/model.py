"""What a failure mode may need of the model: its layers, parameters and buffers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import ACTIVATIONS, DENSE, NORMALISATIONS, Recon


@requirement("class-scores")
def _class_scores(recon: Recon) -> str:
    if recon.names and set(recon.names) == set(recon.labels):
        return "the labels are only compared with each other, so that the output scores no classes"
    return "" if (recon.outputs_per_sample or 0) > 1 else "the output has no dimension of classes"


@requirement("several-layers")
def _several_layers(recon: Recon) -> str:
    return "" if recon.trainable_layers > 1 else "the module has a single layer that learns"


@requirement("frozen-parameters")
def _frozen_parameters(recon: Recon) -> str:
    return "" if recon.frozen_tensors else "no parameter is frozen"


@requirement("floating-buffers")
def _floating_buffers(recon: Recon) -> str:
    return "" if recon.floating_buffers else "the module has no buffer of floating-point numbers"


@requirement("dense-layer")
def _dense_layer(recon: Recon) -> str:
    return _of_kinds(recon, DENSE, "linear or convolutional layer")


@requirement("neurons")
def _neurons(recon: Recon) -> str:
    wide = any(part.width > 1 and part.kind in ("linear", "convolution") for part in recon.parts.values())
    return "" if wide else "no linear or convolutional layer has two neurons"


@requirement("convolution")
def _convolution(recon: Recon) -> str:
    found = any(part.width and part.kind == "convolution" for part in recon.parts.values())
    return "" if found else "there is no convolution with a weight of its own"


@requirement("biased-layer")
def _biased_layer(recon: Recon) -> str:
    found = any(part.biased and part.kind in DENSE for part in recon.parts.values())
    return "" if found else "no linear or convolutional layer has a bias"


@requirement("unbiased-layer")
def _unbiased_layer(recon: Recon) -> str:
    found = any(part.width and not part.biased and part.kind in DENSE for part in recon.parts.values())
    return "" if found else "every linear or convolutional layer has a bias"


@requirement("steady-layer")
def _steady_layer(recon: Recon) -> str:
    return "" if recon.steady else "no layer with weights gives the shape that it takes"


@requirement("weighted-layer")
def _weighted_layer(recon: Recon) -> str:
    return "" if recon.weighted else "no layer has weights of its own"


@requirement("activation")
def _activation(recon: Recon) -> str:
    found = any(part.steady and part.kind in ACTIVATIONS for part in recon.parts.values())
    return "" if found else "no activation of torch's is a layer of its own"


@requirement("relu")
def _relu(recon: Recon) -> str:
    found = any(recon.parts[path].biased for path in recon.fed("relu"))
    return "" if found else "no layer with a bias feeds a ReLU that is a layer of its own"


@requirement("bounded-activation")
def _bounded_activation(recon: Recon) -> str:
    return "" if recon.fed("bounded") else "no layer with weights feeds a sigmoid or tanh that is a layer of its own"


@requirement("dropout")
def _dropout(recon: Recon) -> str:
    return _of_kinds(recon, ("dropout",), "dropout layer that drops anything")


@requirement("normalisation")
def _normalisation(recon: Recon) -> str:
    return _of_kinds(recon, NORMALISATIONS, "normalising layer")


@requirement("batchnorm")
def _batchnorm(recon: Recon) -> str:
    return _of_kinds(recon, ("batchnorm",), "batch normalisation that keeps running statistics")


@requirement("pooling")
def _pooling(recon: Recon) -> str:
    return _of_kinds(recon, ("pooling",), "pooling layer")


def _of_kinds(recon: Recon, kinds: tuple[str, ...], name: str) -> str:
    return "" if any(part.kind in kinds for part in recon.parts.values()) else f"there is no {name}"

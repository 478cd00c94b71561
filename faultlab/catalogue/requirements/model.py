"""Requirements on the model: its layers, parameters and buffers."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import ACTIVATIONS, DENSE, NORMALISATIONS, TargetProfile


@requirement("class-scores")
def _class_scores(profile: TargetProfile) -> str:
    if profile.names and set(profile.names) == set(profile.labels):
        return "the labels are only compared with each other, so the output does not score classes"
    return "" if (profile.outputs_per_sample or 0) > 1 else "the output has no class dimension"


@requirement("several-layers")
def _several_layers(profile: TargetProfile) -> str:
    return "" if profile.trainable_layers > 1 else "the module has a single trainable layer"


@requirement("frozen-parameters")
def _frozen_parameters(profile: TargetProfile) -> str:
    return "" if profile.frozen_tensors else "no parameter is frozen"


@requirement("tied-parameters")
def _tied_parameters(profile: TargetProfile) -> str:
    return "" if profile.first_step.tied_tensors else "no two layers share a trainable parameter"


@requirement("biased-adapter")
def _biased_adapter(profile: TargetProfile) -> str:
    return "" if profile.first_step.adapters else "no frozen layer has a low-rank adapter with a bias"


@requirement("resting-part")
def _resting_part(profile: TargetProfile) -> str:
    return "" if profile.first_step.resting_parts else "no frozen part of the module is in eval mode in training"


@requirement("floating-buffers")
def _floating_buffers(profile: TargetProfile) -> str:
    return "" if profile.floating_buffers else "the module has no floating-point buffer"


@requirement("dense-layer")
def _dense_layer(profile: TargetProfile) -> str:
    return _of_kinds(profile, DENSE, "linear or convolutional layer")


@requirement("neurons")
def _neurons(profile: TargetProfile) -> str:
    wide = any(part.width > 1 and part.kind in ("linear", "convolution") for part in profile.parts.values())
    return "" if wide else "no linear or convolutional layer has more than one neuron"


@requirement("convolution")
def _convolution(profile: TargetProfile) -> str:
    found = any(part.width and part.kind == "convolution" for part in profile.parts.values())
    return "" if found else "no convolution has its own weight"


@requirement("biased-layer")
def _biased_layer(profile: TargetProfile) -> str:
    found = any(part.biased and part.kind in DENSE for part in profile.parts.values())
    return "" if found else "no linear or convolutional layer has a bias"


@requirement("unbiased-layer")
def _unbiased_layer(profile: TargetProfile) -> str:
    found = any(part.width and not part.biased and part.kind in DENSE for part in profile.parts.values())
    return "" if found else "every linear or convolutional layer has a bias"


@requirement("steady-layer")
def _steady_layer(profile: TargetProfile) -> str:
    return "" if profile.steady else "no layer with weights has an output of the shape of its input"


@requirement("weighted-layer")
def _weighted_layer(profile: TargetProfile) -> str:
    return "" if profile.weighted else "no layer has its own weights"


@requirement("activation")
def _activation(profile: TargetProfile) -> str:
    found = any(part.steady and part.kind in ACTIVATIONS for part in profile.parts.values())
    return "" if found else "no torch activation is a separate layer"


@requirement("relu")
def _relu(profile: TargetProfile) -> str:
    found = any(profile.parts[path].biased for path in profile.fed("relu"))
    return "" if found else "no layer with a bias feeds a ReLU that is a separate layer"


@requirement("bounded-activation")
def _bounded_activation(profile: TargetProfile) -> str:
    return "" if profile.fed("bounded") else "no layer with weights feeds a sigmoid or tanh that is a separate layer"


@requirement("dropout")
def _dropout(profile: TargetProfile) -> str:
    return _of_kinds(profile, ("dropout",), "dropout layer that drops anything")


@requirement("normalisation")
def _normalisation(profile: TargetProfile) -> str:
    return _of_kinds(profile, NORMALISATIONS, "normalization layer")


@requirement("batchnorm")
def _batchnorm(profile: TargetProfile) -> str:
    return _of_kinds(profile, ("batchnorm",), "batch normalization with running statistics")


@requirement("pooling")
def _pooling(profile: TargetProfile) -> str:
    return _of_kinds(profile, ("pooling",), "pooling layer")


def _of_kinds(profile: TargetProfile, kinds: tuple[str, ...], name: str) -> str:
    return "" if any(part.kind in kinds for part in profile.parts.values()) else f"there is no {name}"
